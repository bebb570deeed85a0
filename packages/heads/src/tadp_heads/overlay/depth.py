"""Depth in colours: alone, over an image, and the bar that says which colour is how many metres."""

# H W image pixels

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Dark blue to yellow, even in lightness (five points of viridis), so that equal steps of depth look equal.
_RAMP = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float32)
_NO_VALUE = (128, 128, 128)
_BAR, _TEXT = 14, 13  # pixels: height of the bar, size of its numbers


def color_depth(metres: Tensor) -> Image.Image:
    """Depth (H, W) in metres as colours, near yellow, far dark blue; pixels of 0 (no value) are grey."""
    depth = metres.cpu().numpy()
    return draw_depth(Image.new("RGB", (depth.shape[1], depth.shape[0]), _NO_VALUE), metres, opacity=1)


def draw_depth(image: Image.Image, metres: Tensor, opacity: float = 0.8) -> Image.Image:
    """Blends a colour ramp over the image, near yellow, far dark blue; pixels of 0 (no value) stay as they are."""
    pixels = np.array(image.convert("RGB"), dtype=np.float32)
    depth = metres.cpu().numpy()
    valid = depth > 0
    if not valid.any():
        return image.convert("RGB")
    near, far = depth[valid].min(), depth[valid].max()
    pixels[valid] = (1 - opacity) * pixels[valid] + opacity * _ramp((far - depth[valid]) / max(far - near, 1e-6))
    return Image.fromarray(pixels.round().astype(np.uint8))


def depth_bar(metres: Tensor, width: int = 256) -> Image.Image:
    """The colours from the nearest to the farthest valid depth, with five depths in metres below."""
    valid = metres[metres > 0]
    near, far = (float(valid.min()), float(valid.max())) if valid.numel() else (0.0, 0.0)
    bar = Image.new("RGB", (width, _BAR + _TEXT + 8), "white")
    colors = _ramp(np.linspace(1, 0, width)).round().astype(np.uint8)
    bar.paste(Image.fromarray(np.broadcast_to(colors, (_BAR, width, 3)).copy()))
    draw, font = ImageDraw.Draw(bar), ImageFont.load_default(_TEXT)
    marks = 5 if width >= 240 else 2
    for index in range(marks):
        share = index / (marks - 1)
        text = f"{near + share * (far - near):.2f}" + (" m" if index == marks - 1 else "")
        length = draw.textlength(text, font)
        draw.text((share * (width - length), _BAR + 3), text, fill="black", font=font)
    return bar


def _ramp(nearness: np.ndarray) -> np.ndarray:
    """(...) in [0, 1], 1 the nearest -> (..., 3)."""
    place = nearness * (len(_RAMP) - 1)
    return np.stack([np.interp(place, range(len(_RAMP)), channel) for channel in _RAMP.T], axis=-1)
