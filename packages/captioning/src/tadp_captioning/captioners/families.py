"""The kinds of captioning models that transformers has: how each is prompted, and how its answer is read.

B images, T tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tadp_captioning.chat_api.answer_text import without_thoughts

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from transformers import BatchFeature, ProcessorMixin

DESCRIBE = "Describe what can be seen in this image in one sentence that names every object."


@dataclass(frozen=True, kw_only=True)
class Family:
    """One native model class of transformers and how to speak with it."""

    model: str
    """Name of the model's class in transformers."""
    processor: str
    inputs: "Callable[[ProcessorMixin, list[Image], str], BatchFeature]"
    """(processor, RGB images, prompt) -> what `generate` takes."""
    texts: "Callable[[ProcessorMixin, Tensor, BatchFeature, str], list[str]]"
    """(processor, tokens (B, T) as generated, inputs, prompt) -> one text per image."""
    prompt: str = ""
    """Prompt where the caller gives none; "": the model captions without a prompt."""
    prompts: tuple[str, ...] = ()
    """The only prompts that make captions; empty: any."""
    gpu_dtype: str = "bfloat16"
    """Number format of the weights on a GPU, where the caller names none."""


def _blip_inputs(processor: "ProcessorMixin", images: "list[Image]", prompt: str) -> "BatchFeature":
    if not prompt:
        return processor(images=images, return_tensors="pt")
    return processor(images=images, text=[prompt] * len(images), padding=True, return_tensors="pt")


def _all_text(processor: "ProcessorMixin", tokens: "Tensor", inputs: Any, prompt: str) -> list[str]:
    texts = processor.batch_decode(tokens, skip_special_tokens=True)
    # OPT repeats the question before its answer, T5 does not.
    return [text.strip().removeprefix(prompt) for text in texts]


def _florence_inputs(processor: "ProcessorMixin", images: "list[Image]", prompt: str) -> "BatchFeature":
    return processor(images=images, text=[prompt] * len(images), return_tensors="pt")


_FLORENCE_TEXT = ("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>")
_FLORENCE_BOXES = ("<OD>", "<DENSE_REGION_CAPTION>")


def _florence_texts(processor: "ProcessorMixin", tokens: "Tensor", inputs: Any, prompt: str) -> list[str]:
    if prompt in _FLORENCE_TEXT:
        return processor.batch_decode(tokens, skip_special_tokens=True)
    answers = processor.batch_decode(tokens, skip_special_tokens=False)
    # Where the boxes are says nothing to a text encoder: any image size will do.
    found = [processor.post_process_generation(text, task=prompt, image_size=(1, 1))[prompt] for text in answers]
    return [", ".join(dict.fromkeys(boxes["labels"])) for boxes in found]


def _chat_inputs(processor: "ProcessorMixin", images: "list[Image]", prompt: str) -> "BatchFeature":
    question = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
    text = processor.apply_chat_template(question, add_generation_prompt=True)
    # Padded on the left, so that every answer starts behind its question.
    return processor(
        text=[text] * len(images),
        images=[[image] for image in images],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    )


def _chat_texts(processor: "ProcessorMixin", tokens: "Tensor", inputs: Any, prompt: str) -> list[str]:
    answers = tokens[:, inputs["input_ids"].shape[1] :]  # (B, T) without the question
    return [without_thoughts(text) for text in processor.batch_decode(answers, skip_special_tokens=True)]


def _chat(model: str, processor: str) -> Family:
    return Family(model=model, processor=processor, inputs=_chat_inputs, texts=_chat_texts, prompt=DESCRIBE)


FAMILIES: dict[str, Family] = {
    "blip-2": Family(
        model="Blip2ForConditionalGeneration",
        processor="Blip2Processor",
        inputs=_blip_inputs,
        texts=_all_text,
        gpu_dtype="float16",
    ),
    "florence2": Family(
        model="Florence2ForConditionalGeneration",
        processor="Florence2Processor",
        inputs=_florence_inputs,
        texts=_florence_texts,
        prompt="<CAPTION>",
        prompts=(*_FLORENCE_TEXT, *_FLORENCE_BOXES),
        gpu_dtype="float16",
    ),
    "qwen2_5_vl": _chat("Qwen2_5_VLForConditionalGeneration", "Qwen2_5_VLProcessor"),
    "qwen3_vl": _chat("Qwen3VLForConditionalGeneration", "Qwen3VLProcessor"),
    "idefics3": _chat("Idefics3ForConditionalGeneration", "Idefics3Processor"),
}
"""By the `model_type` of a model's config.json. SmolVLM is of the class Idefics3."""


def family_of(model_type: str) -> Family:
    """The family of a config's `model_type`."""
    if model_type not in FAMILIES:
        raise ValueError(f"models of type {model_type!r} cannot caption here; expected one of {', '.join(FAMILIES)}")
    return FAMILIES[model_type]


def checked_prompt(family: Family, prompt: str | None) -> str:
    """The prompt asked for, or the family's own."""
    if prompt is None:
        return family.prompt
    if family.prompts and prompt not in family.prompts:
        raise ValueError(f"prompt {prompt!r}: {family.model} captions with one of {', '.join(family.prompts)}")
    return prompt


def rgb(images: "Sequence[Image]") -> "list[Image]":
    """Images of any mode -> RGB."""
    return [image.convert("RGB") for image in images]
