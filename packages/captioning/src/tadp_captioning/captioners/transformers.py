"""Captioners that are transformers models, of any family and size.

B images, T tokens generated.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from tadp_captioning._read_errors import check_sizes, lacks_memory, reason_of
from tadp_captioning.base import GenerationConfig
from tadp_captioning.captioners.families import Family, checked_prompt, family_of, rgb
from tadp_captioning.chat_api.answer_text import NoCaption
from tadp_captioning.registry import CaptionerSpec

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from transformers import BatchFeature, PreTrainedModel, ProcessorMixin

logger = logging.getLogger(__name__)
_FIX = "use a complete folder that transformers wrote, its weights as .safetensors"

START_BATCH = {"cpu": 8, "cuda": 64}  # by kind of device; halved by the captioner when memory runs out


class Prepared(NamedTuple):
    """One batch, ready for the model."""

    images: "Sequence[Image]"
    inputs: "BatchFeature"


class TransformersCaptioner:
    """A built model and its processor behind the one call of `Captioner`."""

    def __init__(
        self,
        *,
        name: str,
        family: Family,
        model: "PreTrainedModel",
        processor: "ProcessorMixin",
        generation: GenerationConfig,
        batch_size: int,
    ):
        self.name = name
        self.family = family
        self.prompt = checked_prompt(family, generation.prompt)
        self.params = _params(family, generation)
        self.model = model.eval()
        self.processor = processor
        self.generation = generation
        self.batch_size = batch_size

    def caption(self, images: Sequence["Image"]) -> list[str]:
        """One caption per image, in order: greedy, so the same images give the same captions."""
        captions: list[str] = []
        while len(captions) < len(images):
            captions += self.answer(self.prepare(images[len(captions) : len(captions) + self.batch_size]))
        return captions

    def prepare(self, images: Sequence["Image"]) -> Prepared:
        """The model's inputs for one batch, on the CPU."""
        return Prepared(images, self.family.inputs(self.processor, rgb(images), self.prompt))

    def answer(self, prepared: Prepared) -> list[str]:
        """One caption per image of a batch; in smaller batches where memory doesn't last."""
        import torch

        if len(prepared.images) > self.batch_size:  # prepared before memory ran out
            return self.caption(prepared.images)
        inputs = prepared.inputs.to(self.model.device, self.model.dtype)
        try:
            with torch.inference_mode():
                tokens = self.model.generate(
                    **inputs,
                    min_new_tokens=self.generation.min_new_tokens,
                    max_new_tokens=self.generation.max_new_tokens,
                )  # (B, T)
        except torch.OutOfMemoryError:
            self._halve(len(prepared.images))
            return self.caption(prepared.images)
        # Stripped, where the paper's code cut the last character whatever it was (captioning/blip.py:100).
        texts = self.family.texts(self.processor, tokens, inputs, self.prompt)
        return [text if isinstance(text, NoCaption) else text.strip() for text in texts]

    def _halve(self, tried: int) -> None:
        import torch

        if tried == 1:
            raise ValueError(
                f"captioner {self.name!r}: out of memory with a single image on {self.model.device}; "
                "choose a smaller captioner, a 16-bit dtype or another device"
            )
        torch.cuda.empty_cache()
        self.batch_size = tried // 2
        logger.warning("out of memory with a batch size of %d; continuing with %d", tried, self.batch_size)


def load_transformers_captioner(
    name: str,
    spec: CaptionerSpec,
    *,
    generation: GenerationConfig,
    device: str | None,
    dtype: str | None,
    batch_size: int | None,
) -> TransformersCaptioner:
    """Read model and processor of `spec.model` and put them on the device."""
    import torch
    import transformers

    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    with _reading(name, spec):
        family = _family(spec)
        processor = getattr(transformers, family.processor).from_pretrained(spec.model, revision=spec.revision)
        model = getattr(transformers, family.model).from_pretrained(
            spec.model, revision=spec.revision, dtype=_dtype(dtype or _default_dtype(family, place))
        )
    _be_greedy(model)
    return TransformersCaptioner(
        name=name,
        family=family,
        model=model.to(place),
        processor=processor,
        generation=generation,
        batch_size=batch_size or START_BATCH.get(place.type, 8),
    )


def params_of(name: str, spec: CaptionerSpec, generation: GenerationConfig) -> str:
    """`TransformersCaptioner.params`, of which only the configuration is read."""
    with _reading(name, spec):
        family = _family(spec)
    return _params(family, generation)


def _params(family: Family, generation: GenerationConfig) -> str:
    return replace(generation, prompt=checked_prompt(family, generation.prompt) or None).params


def _family(spec: CaptionerSpec) -> Family:
    import transformers

    config = transformers.AutoConfig.from_pretrained(spec.model, revision=spec.revision)
    check_sizes(config.to_dict(), "config.json")
    return family_of(config.model_type)


@contextmanager
def _reading(name: str, spec: CaptionerSpec) -> Iterator[None]:
    """Around what transformers reads: whatever it raises is one line that names captioner and cause."""
    try:
        yield
    except OSError as error:  # what transformers raises for anything missing, local or remote
        raise ValueError(
            f"captioner {name!r}: cannot load {spec.model}: {reason_of(error)} With network it is fetched "
            "once; without one, name a folder that holds it"
        ) from error
    except ImportError as error:  # the video part of Qwen's processors wants torchvision, for images too
        raise ValueError(
            f"captioner {name!r}: {' '.join(str(error).split())[:80]}...; pip install 'tadp-captioning[qwen]'"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a malformed file leads transformers into exceptions of any kind
        if lacks_memory(error):
            raise RuntimeError(f"captioner {name!r} needs more memory than is available: {reason_of(error)}") from error
        raise ValueError(f"captioner {name!r}: {spec.model} cannot be read: {reason_of(error)}; {_FIX}") from error


def _be_greedy(model: "PreTrainedModel") -> None:
    """Whatever the checkpoint's own settings sample or search: the likeliest token each time."""
    settings = model.generation_config
    settings.do_sample, settings.num_beams = False, 1
    settings.temperature = settings.top_p = settings.top_k = None
    settings.early_stopping = False


def _default_dtype(family: Family, place: "torch.device") -> str:
    return "float32" if place.type == "cpu" else family.gpu_dtype


def _dtype(name: str) -> "torch.dtype":
    import torch

    names = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if name not in names:
        raise ValueError(f"unknown dtype {name!r}; choose from {', '.join(names)}")
    return names[name]
