"""What the images of a report are made of: one row per image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True, eq=False)
class CaptionRow:
    """A caption and what was done to it."""

    image: Image.Image
    written: str
    """As the captioner wrote it."""
    cleaned: str
    """Without the words that name the domain."""
    prompts: Mapping[str, str]
    """{modifier: the prompt}."""


@dataclass(frozen=True, eq=False)
class HeatRow:
    """Where each word of a prompt attends in an image."""

    image: Image.Image
    prompt: str
    maps: Sequence[tuple[str, np.ndarray]]
    """(word, (H, W) float in [0, 1]), of the image's size."""

    def __post_init__(self) -> None:
        expected = (self.image.height, self.image.width)
        for word, heat in self.maps:
            if heat.shape != expected:
                raise ValueError(f"the map of {word!r} is {heat.shape}, the image is {expected} (H, W): resize the map")

    @property
    def peak(self) -> float:
        """The maximum of all maps: their one scale."""
        return max((float(heat.max()) for _, heat in self.maps), default=0.0)


@dataclass(frozen=True, eq=False)
class PredictionRow:
    """An image with its annotation and what models predict."""

    image: Image.Image
    truth: Image.Image
    """The annotation over the image, of the image's size."""
    title: str
    predictions: Mapping[str, Image.Image]
    """{prompt: the prediction over the image, of the image's size}."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageRow:
    """An image with the predictions of runs."""

    image: Image.Image
    truth: Image.Image | None
    """The annotation over the image; None where it has none."""
    title: str
    predictions: Mapping[str, tuple[Image.Image, str]]
    """{run: (prediction over the image, its metric as text)}."""
    heat: HeatRow | None
    """Where the first run's words attend."""
    caption: str | None
    """As it is stored; None where the run is not prompted with captions."""
    written: str | None
    """As the captioner wrote it, where that was changed since."""
    prompt: str | None
    """Of the first run."""
