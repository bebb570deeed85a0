"""Images of a page: heat maps over an image, their colour bar, PNG as text."""

import base64
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from PIL import Image

HEAT_COLOURS = "inferno"
"""Even in lightness and legible without colour vision."""
POOLING = "mean over heads, layers and strides; tokens of a word summed; the maps of an image have one scale"
_OPACITY = 0.6


def heat_overlay(image: Image.Image, heat: np.ndarray, peak: float | None = None) -> Image.Image:
    """The map (H, W), scaled to `peak`, None: its own maximum, in colours over the grey image; what is above is cut."""
    peak = float(heat.max()) if peak is None else peak
    colours = colormaps[HEAT_COLOURS](np.clip(heat / peak, 0, 1) if peak > 0 else heat)[..., :3]  # (H, W, 3) in [0, 1]
    grey = np.asarray(image.convert("L"), dtype=np.float32)[..., None] / 255
    blended = _OPACITY * colours + (1 - _OPACITY) * grey
    return Image.fromarray((255 * blended).round().astype(np.uint8))


def colour_bar(width: int = 256, height: int = 12) -> Image.Image:
    """The colours of heat maps from 0, left, to the maximum of the scale, right."""
    colours = colormaps[HEAT_COLOURS](np.linspace(0, 1, width))[:, :3]
    return Image.fromarray(np.broadcast_to((255 * colours).round().astype(np.uint8), (height, width, 3)).copy())


def data_uri(image: Image.Image) -> str:
    """A PNG within the page itself, as small as possible."""
    return _data_uri(image, optimize=True)


def quick_data_uri(image: Image.Image) -> str:
    """The same in about a tenth of the time and twice the bytes, for a page that is redrawn while one types."""
    return _data_uri(image, compress_level=1)


def _data_uri(image: Image.Image, **how: int) -> str:
    file = BytesIO()
    image.convert("RGB").save(file, "PNG", **how)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
