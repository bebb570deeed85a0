"""Boxes over an image, each with a label outside of it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tadp_heads.data.palette import Color
from tadp_heads.overlay.sheets import one_line

_READABLE = 448
"""Pixels of the longer side below which an image is enlarged before its labels are drawn."""
_TEXT = 13  # pixels


class _Place(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "_Place") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def draw_boxes(
    image: Image.Image, boxes: Tensor, labels: Tensor, captions: Sequence[str], palette: Sequence[Color]
) -> Image.Image:
    """Draws boxes (N, 4) XYXY in pixels with a caption each.

    A small image is enlarged by a whole factor first, so that labels can be read. A label lies outside its box where
    there is room and covers no other label; one that finds no place is left out.
    """
    factor = max(1, -(-_READABLE // max(image.size)))
    canvas = image.convert("RGB").resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas)
    width = max(1, round(min(canvas.size) / 200))
    font = ImageFont.load_default(max(_TEXT, round(min(canvas.size) / 45)))
    drawn = [
        (tuple(factor * side for side in box), palette[label])
        for box, label in zip(boxes.tolist(), labels.tolist(), strict=True)
    ]
    for box, color in drawn:
        draw.rectangle(box, outline=tuple(color), width=width)
    taken: list[_Place] = []
    for (box, color), caption in zip(drawn, captions, strict=True):
        text = one_line(caption)
        _, _, right, bottom = draw.textbbox((0, 0), text, font)
        place = _free_place(_Place(*box), right + 4, bottom + 4, canvas.size, taken)
        if place is not None:
            taken.append(place)
            draw.rectangle(place, fill=tuple(color))
            draw.text((place.left + 2, place.top + 1), text, fill=readable_on(color), font=font)
    return canvas


def readable_on(color: Color) -> str:
    """Black or white, whichever stands out (relative luminance, ITU-R BT.709)."""
    red, green, blue = color
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 120 else "white"


def _free_place(
    box: _Place, width: float, height: float, size: tuple[int, int], taken: Sequence[_Place]
) -> _Place | None:
    """The first place within the image that meets no label."""
    for left, top in _corners(box, width, height):
        left = min(max(left, 0), max(size[0] - width, 0))
        place = _Place(left, top, left + width, top + height)
        if top >= 0 and place.bottom <= size[1] and not any(place.meets(other) for other in taken):
            return place
    return None


def _corners(box: _Place, width: float, height: float) -> Iterator[tuple[float, float]]:
    """Above the box, below, to its right, and within it where it fills the image; left edge and top of each place."""
    for top in (box.top - height, box.bottom):
        yield box.left, top
        yield box.right - width, top
    for left in (box.right, box.left - width):
        yield left, box.top
        yield left, box.bottom - height
    yield box.left, box.top
    yield box.right - width, box.bottom - height
