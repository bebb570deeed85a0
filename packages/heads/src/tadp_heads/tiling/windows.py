"""Overlapping windows over an image, and how much each counts where they overlap."""

from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """A part of an image, in pixels; bottom and right exclusive."""

    top: int
    left: int
    bottom: int
    right: int


def starts(length: int, side: int, overlap: int) -> list[int]:
    """Where windows of `side` pixels begin over a length; the last ends with it, the others overlap by `overlap`."""
    if not 0 <= overlap < side:
        raise ValueError(f"an overlap of {overlap} pixels: expected less than the windows' side of {side}")
    if length <= side:
        return [0]
    return [*range(0, length - side, side - overlap), length - side]


def rows_of_windows(height: int, width: int, side: int, overlap: int) -> list[list[Window]]:
    """The windows of an image from top to bottom, each row from left to right."""
    return [
        [Window(top, left, min(top + side, height), min(left + side, width)) for left in starts(width, side, overlap)]
        for top in starts(height, side, overlap)
    ]


def feather(height: int, width: int, margin: int) -> Tensor:
    """(H, W) weights in (0, 1]: 1 inside, falling linearly over `margin` cells towards each edge."""
    return _ramp(height, margin)[:, None] * _ramp(width, margin)[None]


def _ramp(length: int, margin: int) -> Tensor:
    distance = torch.minimum(torch.arange(length), torch.arange(length).flip(0)).float()
    return ((distance + 1) / (margin + 1)).clamp(max=1)
