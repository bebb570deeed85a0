"""What the pictures of a report are made of: one row an image."""

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
    """Without the words that name the look."""
    prompts: Mapping[str, str]
    """{modifier: the text that the model is given}."""


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


@dataclass(frozen=True, eq=False)
class PredictionRow:
    """What is in an image, and what models say is in it."""

    image: Image.Image
    truth: Image.Image
    """The annotation over the image, of the image's size."""
    title: str
    predictions: Mapping[str, Image.Image]
    """{prompt: the prediction over the image, of the image's size}."""
