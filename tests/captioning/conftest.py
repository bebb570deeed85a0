"""Toy sizes of the real classes: a BLIP-2 with every part of the full one; images; a chat server that misbehaves."""

import json
import random
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

WORDS = [
    "a",
    "an",
    "the",
    "of",
    "on",
    "and",
    "red",
    "blue",
    "small",
    "dog",
    "cat",
    "tree",
    "star",
    "moon",
    "ring",
    "two",
]


def word_tokenizer():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *WORDS])}
    backend = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture(scope="session")
def blip2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `save_pretrained` folder: vision tower, Q-Former and OPT, random weights, 32 x 32 images."""
    import torch
    from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessor

    folder = tmp_path_factory.mktemp("toy-blip2")
    image_processor = BlipImageProcessor(size={"height": 32, "width": 32})
    processor = Blip2Processor(image_processor, word_tokenizer(), num_query_tokens=4)
    tokenizer = processor.tokenizer
    small = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 32}
    config = Blip2Config(
        vision_config={**small, "image_size": 32, "patch_size": 8},
        qformer_config={**small, "vocab_size": len(tokenizer), "encoder_hidden_size": 16},
        text_config={
            "model_type": "opt",
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "word_embed_proj_dim": 16,
            "num_hidden_layers": 2,
            "ffn_dim": 32,
            "num_attention_heads": 2,
            "max_position_embeddings": 128,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    model = Blip2ForConditionalGeneration(config)
    with torch.no_grad():  # far enough from zero for captions to depend on the image
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Seven small pictures, some in a folder below, of several modes and sizes."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    generator = random.Random(0)
    for i, mode in enumerate(["RGB", "L", "RGBA", "RGB", "P", "RGB", "RGB"]):
        colour = bytes(generator.randrange(256) for _ in range(3))
        noisy = bytes(min(255, c + generator.randrange(40)) for c in colour * 40 * (24 + i))
        picture = Image.frombytes("RGB", (40, 24 + i), noisy)
        place = folder / "more" if i > 4 else folder
        picture.convert(mode).save(place / f"picture_{i}.png")
    return folder


class ChatServer:
    """An OpenAI-compatible server on localhost. Its answers follow `script`, then `answer` for good."""

    def __init__(self):
        self.script: list[Callable[[BaseHTTPRequestHandler, dict], None]] = []
        self.answer: Callable[[dict], str] = lambda request: "a dog"
        self.requests: list[dict] = []
        self.keys: list[str] = []
        lock, world = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    world.requests.append(request)
                    world.keys.append(self.headers["Authorization"])
                    step = world.script.pop(0) if world.script else None
                if step is None:
                    world.say(self, world.answer(request))
                else:
                    step(self, request)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a client that hangs up is what some tests are about
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @staticmethod
    def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    def say(
        self,
        handler: BaseHTTPRequestHandler,
        text: str,
        *,
        finish_reason: str = "stop",
        tokens: tuple[int | None, int | None] = (100, 10),
    ) -> None:
        """A whole chat completion of that many tokens in and out."""
        message = {"role": "assistant", "content": text}
        body = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "toy",
            "choices": [{"index": 0, "finish_reason": finish_reason, "message": message}],
            "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]},
        }
        self.send(handler, 200, json.dumps(body).encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def chat_server(monkeypatch: pytest.MonkeyPatch):
    """With a key in the environment, as a paid server has it."""
    server = ChatServer()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret1234567890")
    yield server
    server.close()
