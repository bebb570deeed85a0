"""Image taggers: by the features of a pass of the backbone, by a captioner, or by CLIP."""

# B images, K classes, P pooled features, H W image pixels

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from tadp_heads.data import SampleDataset
from tadp_heads.preprocessing import RANGES
from tadp_heads.tagging.head import PresenceHead, pool
from tadp_heads.tagging.presence import Presence

Report = Callable[[str, int, int], None]
"""Called as report(stage, items done, items in total)."""
_BATCH = 16
_BATCH_PIXELS = 8 * 512 * 512
"""Maximum pixels of a batch, B * H * W; an image of more is a batch of its own."""


class Captions(Protocol):
    """{image id: caption}."""

    def __getitem__(self, image_id: str, /) -> str:
        """The image's caption; raise an error that names the image where there is none."""
        ...


class Batch(NamedTuple):
    """Images of one size."""

    ids: tuple[str, ...]
    images: Tensor
    """(B, 3, H, W) uint8."""
    captions: tuple[str, ...]
    """Empty strings where there are none."""


class Tagger(Protocol):
    """An image tagger of K classes."""

    names: tuple[str, ...]
    """The classes, in the order of the probabilities."""

    def probabilities(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """uint8 images (B, 3, H, W), their captions -> the probability of each class (B, K), in [0, 1]."""
        ...


class ImageTagger(Protocol):
    """A zero-shot model: CLIP, or a captioner's word probabilities."""

    names: tuple[str, ...]

    def probabilities(self, images: Sequence[Image.Image]) -> Tensor:
        """The probability of each class (B, K), in [0, 1]."""
        ...


class FirstPass:
    """A PresenceHead on the features of one pass, with the caption or the empty prompt, and with one map per class."""

    head: PresenceHead
    """Set when it is trained or read from a run."""

    def __init__(
        self,
        backbone: Any,
        words: Mapping[str, Sequence[str]],
        image_range: str,
        mentions: Callable[[str], Iterable[str]] | None,
    ):
        """`backbone`: a latent diffusion model with a config that has `class_words`, `class_input` and `posterior`.

        `words`: {class: the words that name it}. `mentions`: caption -> the classes that it names; None: the prompt is
        empty.
        """
        self.backbone, self.names, self.mentions = backbone, tuple(words), mentions
        self.normalise = RANGES[image_range]
        self.words = tuple(map(tuple, words.values()))

    @property
    def levels(self) -> Any:
        """The feature levels that its head reads, finest first."""
        with self._maps_by_class():
            return self.backbone.levels

    def mentioned(self, captions: Sequence[str]) -> Tensor:
        """(B, K) float: 1 where the caption names the class; all 0 with the empty prompt."""
        found = [set(self.mentions(text)) if self.mentions else set() for text in captions]
        return torch.tensor([[float(name in named) for name in self.names] for named in found])

    @torch.no_grad()
    def pooled(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """uint8 images (B, 3, H, W), their captions -> pooled features (B, P), float32."""
        texts = list(captions) if self.mentions else [""] * len(images)
        with self._maps_by_class():
            context = self.backbone.encode_text(texts)
            return pool(self.backbone(self.normalise(images.to(self.backbone.device)), context).levels)

    @torch.no_grad()
    def probabilities(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        pooled = self.pooled(images, captions)
        return self.head.from_pooled(pooled, self.mentioned(captions).to(pooled)).sigmoid().cpu()

    def _maps_by_class(self) -> AbstractContextManager[None]:
        """Inside, maps are by class, whatever the config for the second pass."""
        return reading(self.backbone, class_words=self.words, class_input="maps")


class Untrained:
    """A zero-shot model as a Tagger: it ignores captions."""

    def __init__(self, model: ImageTagger):
        self.model, self.names = model, model.names

    def probabilities(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        return self.model.probabilities([to_pil_image(image) for image in images.cpu()])


@contextmanager
def reading(backbone: Any, **changes: Any) -> Iterator[None]:
    """Inside, the backbone's config has these changes and its passes are deterministic: tags are reproducible."""
    known = backbone.config
    backbone.config = replace(known, posterior="mode", noise=False, **changes)
    try:
        yield
    finally:
        backbone.config = known


def images_in_batches(dataset: SampleDataset, captions: Captions | None) -> Iterator[Batch]:
    """All images of the data set in its order, without targets; captions are empty where `captions` is None."""
    samples = (dataset.read(image_id) for image_id in dataset.ids)
    return in_batches(
        (sample.id, sample.image.as_subclass(Tensor), "" if captions is None else captions[sample.id])
        for sample in samples
    )


def in_batches(images: Iterable[tuple[str, Tensor, str]]) -> Iterator[Batch]:
    """(id, uint8 image (3, H, W), caption) each -> batches of consecutive images of one size."""
    for (_, height, width), group in groupby(images, key=lambda item: item[1].shape):
        most = max(1, min(_BATCH, _BATCH_PIXELS // (height * width)))
        while batch := list(islice(group, most)):
            ids, pixels, texts = zip(*batch, strict=True)
            yield Batch(ids, torch.stack(pixels), texts)


def tagged(tagger: Tagger, threshold: float, batches: Iterable[Batch], report: Report, total: int) -> Presence:
    """The class probabilities of `total` images; a class is named from `threshold` on."""
    found: dict[str, Tensor] = {}
    for ids, images, texts in batches:
        found |= zip(ids, tagger.probabilities(images, texts), strict=True)
        report("presence", len(found), total)
    return Presence(tagger.names, found, threshold)
