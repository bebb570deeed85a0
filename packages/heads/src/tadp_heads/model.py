"""`PerceptionModel`: backbone, text and head as one predictor."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor, nn

from tadp_heads.data.files import files_by_id, require_folder
from tadp_heads.data.image_io import open_rgb
from tadp_heads.model_config import CAPTION_SLOT, PerceptionConfig
from tadp_heads.plugins import CAPTIONERS, PROMPTERS, load_plugin
from tadp_heads.precision import in_float32
from tadp_heads.preprocessing import RANGES, multiple_of, pad_to_multiple, sd_to_imagenet_range
from tadp_heads.registry import get_task, head_name
from tadp_heads.results import Result
from tadp_heads.saved_model import SavedModel
from tadp_heads.seeds import image_generators
from tadp_heads.tasks import Extract, Features, Output

# B batch, T tokens, D width of the text encoder, H W image pixels.


class PerceptionModel(SavedModel):
    """Image (and caption) in, result out.

    `backbone` has `encode_text(list[str]) -> (B, T, D)` and, called with images (B, 3, H, W) and such a context, gives
    an object whose `levels` the head takes; without `encode_text` the context is None. If it has a true
    `is_stochastic`, it takes `generator=` too, a list of one generator per image. `context` (1, T, D) is a fixed
    embedding to be used for every image instead of a text (averaged class embeddings, for one); it is saved with the
    model.
    """

    def __init__(self, backbone: Any, head: nn.Module, config: PerceptionConfig, context: Tensor | None = None):
        super().__init__(backbone, head, config, context)
        self.task = get_task(config.task)
        if not isinstance(head, self.task.head_class) and head_name(config.task, head) is None:
            raise ValueError(
                f"{type(head).__name__} for the task {config.task!r}: expected a {self.task.head_class.__name__} or a "
                "class that register_head made known"
            )
        self._captioner: Any = None
        self._prompter: Any = None

    @property
    def device(self) -> torch.device:
        """Where the head is."""
        return next(self.head.parameters()).device

    @property
    def size_multiple(self) -> int:
        """Images are padded right and bottom to multiples of so many pixels."""
        return multiple_of(self.head)

    def encode_captions(self, captions: Sequence[str]) -> Tensor | None:
        """Captions -> (B, T, D), as in training: by the prompt builder or template, or a context in place of both.

        None for a backbone that takes no text.
        """
        if self.context is not None:
            return self.context.expand(len(captions), -1, -1)
        if not hasattr(self.backbone, "encode_text"):
            return None
        if getattr(self.backbone, "learnt_context", None) is not None:
            return self.backbone.learnt_context(len(captions))
        if self.config.prompter is not None:
            return self._load_prompter().context(self.backbone, captions)
        return self.backbone.encode_text([self.config.prompt.replace(CAPTION_SLOT, text) for text in captions])

    @property
    def has_fixed_prompt(self) -> bool:
        """Whether all images are conditioned on the same context."""
        if self.context is not None or getattr(self.backbone, "learnt_context", None) is not None:
            return True
        if not hasattr(self.backbone, "encode_text"):
            return True
        return self.config.prompter is None and not self.config.needs_caption

    def forward(self, images: Tensor, context: Tensor | None = None) -> Output:
        """images (B, 3, H, W), RGB in [-1, 1], of any size; context (B or 1, T, D) -> the task's output.

        That is `SegmentationOutput`, `DepthOutput` or `DetectionOutput`, in the images' own
        frame: one pass over the whole image, whatever the protocol. `context` is what `encode_captions` gives; it may
        be left out where `has_fixed_prompt`. Gradients flow, as far as the modules' parameters ask for them. Detection
        predicts in eval mode only; its training loss is `model.task.loss`.
        """
        if context is None:
            if not self.has_fixed_prompt:
                raise ValueError("each image has a prompt of its own: pass context=encode_captions(captions)")
            context = self.encode_captions([""])
        if not hasattr(self.task, "output"):
            raise ValueError(
                f"the task {self.config.task!r} has no output(): add it (tadp_heads.tasks.Task), or predict()"
            )
        size = (images.shape[-2], images.shape[-1])
        padded = pad_to_multiple(images, self.size_multiple)
        if self.config.image_range == "imagenet":
            padded = sd_to_imagenet_range(padded)
        return self.task.output(self.head, self._features(padded, context), size)

    def _features(self, images: Tensor, context: Tensor | None, **options: Any) -> Features:
        """The backbone's levels in the head's type: a backbone may compute in half precision, the head does not."""
        dtype = next(self.head.parameters()).dtype
        return tuple(level.to(dtype) for level in self.backbone(images, context, **options).levels)

    @torch.no_grad()
    @in_float32()
    def predict_tensors(
        self,
        images: Sequence[Tensor],
        context: Tensor | None,
        protocol: Any = None,
        batch_size: int = 8,
        *,
        confidence: bool = False,
    ) -> list[Any]:
        """uint8 images (3, H, W) of any sizes, context (B, T, D) -> raw predictions in the protocol's frame, in order.

        `context` None: the backbone's own. Images of one size go through together, `batch_size` at a time; what is
        drawn at random does not depend on it.
        Leaves the model in eval mode.
        """
        self.eval()
        protocol = protocol or self.config.protocol or next(iter(self.task.protocols))
        normalise = RANGES[self.config.image_range]
        predictions: list[Any] = [None] * len(images)
        for group in _groups_of_one_size(images, batch_size):
            pixels = torch.stack([images[i] for i in group])
            extract = self.extractor(pixels, None if context is None else context[group].to(self.device))
            task: Any = self.task  # `predict_confident` is not part of every task
            predict = task.predict_confident if confidence else task.predict
            found = predict(self.head, extract, normalise(pixels.to(self.device)), protocol)
            for index, prediction in zip(group, found, strict=True):
                predictions[index] = prediction
        return predictions

    def extractor(self, images: Tensor, context: Tensor | None) -> Extract:
        """uint8 images (B, 3, H, W), context (B or 1, T, D) -> what a protocol calls with window after window of them.

        What a stochastic backbone draws is a function of `config.seed`, the image's pixels and the index of the window.
        """
        windows = count()

        def extract(window: Tensor) -> Features:
            options = {}
            if getattr(self.backbone, "is_stochastic", False):
                options["generator"] = image_generators(images, self.config.seed, next(windows))
            return self._features(window, context, **options)

        return extract

    def predict(self, image: Image.Image, caption: str | None = None) -> Result:
        """The result for one image of any size; a caption that is needed and not given is written by the captioner.

        ValueError where it is needed and the config names none.
        """
        return self.predict_batch([image], [caption])[0]

    @in_float32()
    def predict_batch(
        self,
        images: Sequence[Image.Image],
        captions: Sequence[str | None] | None = None,
        batch_size: int = 8,
        context: Tensor | None = None,
        *,
        confidence: bool = False,
    ) -> list[Result]:
        """One result per image, in order; `context` (B, T, D) replaces captions.

        `confidence`: with the probability of each pixel's class, for segmentation.
        """
        if confidence and not hasattr(self.task, "predict_confident"):
            raise ValueError(f"a model for {self.config.task} has no confidence per pixel: leave confidence out")
        captions = [None] * len(images) if captions is None else list(captions)
        if len(captions) != len(images):
            raise ValueError(f"{len(captions)} captions for {len(images)} images: expected one each, or None for all")
        images = [image.convert("RGB") for image in images]
        if context is None:
            with torch.no_grad():
                context = self.encode_captions(self._complete(images, captions))
        tensors = [_to_tensor(image) for image in images]
        predictions = self.predict_tensors(tensors, context, batch_size=batch_size, confidence=confidence)
        return [
            self.task.result(image, prediction, self.config.classes, self.config.palette)
            for image, prediction in zip(images, predictions, strict=True)
        ]

    def predict_folder(
        self, folder: str | Path, captions: Mapping[str, str] | None = None, batch_size: int = 8
    ) -> Iterator[tuple[str, Result]]:
        """(id, result) for every image below `folder`; `captions` by id. Holds one batch of images at a time.

        DataError for a folder that is not there, and for an image that cannot be read.
        """
        files = list(files_by_id(require_folder(Path(folder), "a folder of images")).items())
        for start in range(0, len(files), batch_size):
            part = files[start : start + batch_size]
            texts = [(captions or {}).get(name) for name, _ in part]
            results = self.predict_batch([open_rgb(path) for _, path in part], texts, batch_size)
            yield from zip((name for name, _ in part), results, strict=True)

    def _load_prompter(self) -> Any:
        """The prompt builder that the config records."""
        if self._prompter is None:
            settings = self.config.prompter or {}
            self._prompter = load_plugin(PROMPTERS, str(settings.get("plugin")))(settings)
        return self._prompter

    def _complete(self, images: Sequence[Image.Image], captions: Sequence[str | None]) -> list[str]:
        """Captions with the missing ones written by the captioner, where the prompt needs them."""
        missing = [i for i, text in enumerate(captions) if text is None]
        if not missing or self.context is not None or not self.config.needs_caption:
            return ["" if text is None else text for text in captions]
        if self.config.captioner is None:
            raise ValueError(
                f"no caption for {len(missing)} of {len(captions)} images and no captioner in the model's config: "
                "pass captions"
            )
        if self._captioner is None:
            self._captioner = load_plugin(CAPTIONERS, "default")(self.config.captioner, **self.config.captioning)
        written = iter(self._captioner.caption([images[i] for i in missing]))
        return [next(written) if text is None else text for text in captions]


def _to_tensor(image: Image.Image) -> Tensor:
    """PIL RGB -> (3, H, W) uint8."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return rearrange(pixels, "(h w c) -> c h w", h=image.height, c=3)


def _groups_of_one_size(images: Sequence[Tensor], batch_size: int) -> list[list[int]]:
    """Indices of images of equal size, at most `batch_size` together; every index once."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        by_size.setdefault(tuple(image.shape), []).append(index)
    return [group[i : i + batch_size] for group in by_size.values() for i in range(0, len(group), batch_size)]
