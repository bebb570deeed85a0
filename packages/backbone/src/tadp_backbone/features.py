"""What the backbone returns and what it declares about it."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class Level(NamedTuple):
    """One level of the feature pyramid."""

    channels: int
    """Channels, those of concatenated maps counted in."""

    stride: int
    """Image pixels per feature cell."""


Pyramid = tuple[tuple[Tensor, ...], dict[int, Tensor]]
"""Levels, and maps by stride, as `Features` has them."""


@dataclass(frozen=True)
class Features:
    """Features of a batch of images of H x W pixels. Cells of padding are cut off: sizes are ceil(H / stride)."""

    levels: tuple[Tensor, ...]
    """(B, C, H/stride, W/stride) each, finest first; at the strides asked for, maps follow the UNet's channels."""

    attention: dict[int, Tensor]
    """{stride: (B, T, H/stride, W/stride)}: probability of each token, mean over heads and layers of the stride."""

    image_size: tuple[int, int]
    """(H, W) in pixels."""

    padding: tuple[int, int]
    """Pixels (bottom, right) that were added before the network; 0 where H and W were multiples already."""
