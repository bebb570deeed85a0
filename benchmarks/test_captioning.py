"""The captioning loop against bare `generate` on ready batches: files read, prepared, captioned and written.

A BLIP-2 of 40 million random weights replaces the real one, so that the model has the larger part of the work.
"""

import statistics
import time

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2Processor

from tadp_captioning import CaptionStore, GenerationConfig, caption_images, find_images
from tadp_captioning.captioners.families import FAMILIES
from tadp_captioning.captioners.transformers import TransformersCaptioner
from tadp_captioning.registry import CAPTIONERS

BATCH, IMAGES, TOKENS = 4, 16, 20


@pytest.fixture(scope="module")
def captioner():
    device = "cuda" if torch.cuda.is_available() else "cpu"
    processor = Blip2Processor.from_pretrained(CAPTIONERS["tiny"].model)
    processor.image_processor.size = {"height": 224, "width": 224}
    words = processor.tokenizer
    width = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 6, "intermediate_size": 1536}
    config = Blip2Config(
        vision_config={**width, "image_size": 224, "patch_size": 14},
        qformer_config={**width, "vocab_size": len(words), "encoder_hidden_size": 384},
        text_config={
            "model_type": "opt",
            "vocab_size": len(words),
            "hidden_size": 512,
            "word_embed_proj_dim": 512,
            "num_hidden_layers": 6,
            "ffn_dim": 2048,
            "num_attention_heads": 8,
            "pad_token_id": words.pad_token_id,
            "bos_token_id": words.bos_token_id,
            "eos_token_id": words.eos_token_id,
        },
        num_query_tokens=processor.num_query_tokens,
        image_token_index=words.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    return TransformersCaptioner(
        name="random",
        family=FAMILIES["blip-2"],
        model=Blip2ForConditionalGeneration(config).to(device),
        processor=processor,
        generation=GenerationConfig(min_new_tokens=TOKENS, max_new_tokens=TOKENS),
        batch_size=BATCH,
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """JPEG files of the size of VOC's."""
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(0)
    for index in range(IMAGES):
        coarse = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=90)
    return find_images(folder)


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_the_loop_keeps_up_with_bare_generate(captioner, images, tmp_path):
    opened = [Image.open(path).convert("RGB") for path in images.values()]
    ready = [captioner.prepare(opened[i : i + BATCH]).inputs for i in range(0, IMAGES, BATCH)]
    ready = [inputs.to(captioner.model.device, captioner.model.dtype) for inputs in ready]

    def bare() -> None:
        with torch.inference_mode():
            for inputs in ready:
                captioner.model.generate(**inputs, min_new_tokens=TOKENS, max_new_tokens=TOKENS).cpu()

    def loop() -> None:
        store = CaptionStore.open(tmp_path / f"{time.monotonic_ns()}.jsonl")
        assert caption_images(captioner, images, store).captioned == IMAGES

    bare()
    rounds = [(seconds(bare), seconds(loop)) for _ in range(3)]
    ratio = statistics.median(bare_s / loop_s for bare_s, loop_s in rounds)
    bare_s, loop_s = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"\nbare generate {IMAGES / bare_s:.1f} images/s, loop {IMAGES / loop_s:.1f} images/s, ratio {ratio:.2f}")
    assert ratio >= 0.9
