"""Classes over an image: a tint, and a contour where one class meets another."""

# H W image pixels

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

from tadp_heads.data.palette import Color

TINT = 0.45
"""Opacity of a class's colour within its contour."""
_CONTOUR = 300
"""Pixels of the shorter side per pixel of a contour's width."""


def draw_mask(image: Image.Image, ids: Tensor, palette: Sequence[Color], opacity: float = TINT) -> Image.Image:
    """Tints each class's pixels and draws its contour; ids (H, W) of a black class or of none change nothing.

    Under a class the image is grey, so that a class has one hue on whatever it lies. `opacity` 0: contours alone.
    """
    pixels = np.array(image.convert("RGB"), dtype=np.float32)
    ids_array = ids.cpu().numpy()
    known = (ids_array >= 0) & (ids_array < len(palette))
    colors = np.array(palette, dtype=np.float32).reshape(-1, 3)[np.where(known, ids_array, 0)]
    shown = known & colors.any(-1)
    grey = np.array(image.convert("L"), dtype=np.float32)[..., None]
    if opacity > 0:
        pixels[shown] = (1 - opacity) * grey[shown] + opacity * colors[shown]
    edge = shown & contours(ids_array, max(1, round(min(image.size) / _CONTOUR)))
    pixels[edge] = colors[edge]
    return Image.fromarray(pixels.round().astype(np.uint8))


def contours(ids: np.ndarray, width: int = 1) -> np.ndarray:
    """(H, W) bool: the pixels within `width` of another class than their own."""
    edge = np.zeros(ids.shape, dtype=bool)
    for step in range(1, width + 1):
        across, down = ids[:, step:] != ids[:, :-step], ids[step:] != ids[:-step]
        edge[:, step:] |= across
        edge[:, :-step] |= across
        edge[step:] |= down
        edge[:-step] |= down
    return edge
