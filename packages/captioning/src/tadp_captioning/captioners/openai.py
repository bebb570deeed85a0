"""Captioners behind an OpenAI-compatible server: "openai:MODEL"."""

import base64
import io
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tadp_captioning.base import GenerationConfig
from tadp_captioning.captioners.families import DESCRIBE
from tadp_captioning.chat_api.answer_text import NoCaption, caption_of
from tadp_captioning.chat_api.chat_model import Answer, ChatModel, Endpoint, UnfitAnswerError

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

PREFIX = "openai:"
PARALLEL = 8  # requests under way at a time, where the caller names no batch size
TAGS_SLOT = "{tags}"
"""Placeholder in a prompt: the model is prompted for the objects first, and its list is inserted here."""
LIST_OBJECTS = "List the objects in this image: nouns in the singular, each once, separated by commas, nothing else."
TAGS_FIRST = f"The image shows: {TAGS_SLOT}. Describe it in one sentence that names what is really there."
_LONGEST_TAGS = 400
LONGEST_SIDE = 1024  # pixels; vision models see larger images as tiles that cost more and name no more


class OpenAICaptioner:
    """Asks a vision model for one caption per image, `batch_size` images at a time."""

    def __init__(self, *, name: str, chat: ChatModel, generation: GenerationConfig, batch_size: int):
        if generation.min_new_tokens > 0:
            raise ValueError(
                f"captioner {name!r}: servers do not support min_new_tokens={generation.min_new_tokens}; "
                "leave it 0 and ask for longer captions in the prompt"
            )
        self.name = name
        self._prompt = generation.prompt or DESCRIBE
        self.params = replace(generation, prompt=self._prompt).params
        self.batch_size = batch_size
        self.batches_at_once = 2
        """Of which the requests under way, `batch_size` of all of them together, come: none waits for the slowest."""
        self._pool = ThreadPoolExecutor(batch_size, thread_name_prefix="captions")
        self._max_new_tokens = generation.max_new_tokens
        self._chat = chat

    def caption(self, images: Sequence["Image"]) -> list[str]:
        """One caption per image, in order; `NoCaption` (and a warning) where the model gives none."""
        return self.answer(self.prepare(images))

    def prepare(self, images: Sequence["Image"]) -> list[str]:
        """Each image inside a URL."""
        return [data_url(image) for image in images]

    def answer(self, prepared: list[str]) -> list[str]:
        """One caption per URL, requested concurrently; of several calls at once, `batch_size` URLs together."""
        return list(self._pool.map(self._caption_one, prepared))

    def _caption_one(self, url: str) -> str:
        prompt = self._prompt
        if TAGS_SLOT in prompt:
            tags = " ".join(self._ask_of(url, LIST_OBJECTS).text.split())[:_LONGEST_TAGS]
            prompt = prompt.replace(TAGS_SLOT, tags or "no object that can be named")
        answer = self._ask_of(url, prompt)
        caption = caption_of(answer.text, answer.finish_reason)
        if isinstance(caption, NoCaption):
            logger.warning("%s: %s", self.name, caption.reason)
        return caption

    def _ask_of(self, url: str, prompt: str) -> Answer:
        content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": url}}]
        return self._ask([{"role": "user", "content": content}])

    def _ask(self, messages: list[dict[str, Any]], waits_s: tuple[float, ...] = (0.5, 1.0, 2.0)) -> Answer:
        try:
            return self._chat.ask(messages, max_completion_tokens=self._max_new_tokens, temperature=0)
        except UnfitAnswerError as error:
            if not waits_s:
                raise RuntimeError(f"captioner {self.name!r}: no usable answer; the last error: {error}") from None
            time.sleep(waits_s[0])
            return self._ask(messages, waits_s[1:])


def data_url(image: "Image") -> str:
    """An image as JPEG inside a URL, no side above 1024 pixels."""
    small = image.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def load_openai_captioner(
    name: str, *, generation: GenerationConfig, base_url: str | None, batch_size: int | None
) -> OpenAICaptioner:
    """`name` is "openai:MODEL"; the key comes from the environment (see `Endpoint`)."""
    model = name.removeprefix(PREFIX)
    if not model:
        raise ValueError(f"captioner {name!r}: expected a model's name behind the colon, e.g. openai:gpt-4o-mini")
    chat = ChatModel(Endpoint(model=model, base_url=base_url))
    return OpenAICaptioner(name=name, chat=chat, generation=generation, batch_size=batch_size or PARALLEL)
