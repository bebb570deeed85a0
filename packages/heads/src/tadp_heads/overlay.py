"""Drawing masks, depth and boxes over an image; PIL in, PIL out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor

if TYPE_CHECKING:
    from tadp_heads.data.sample import Color

# Dark blue to yellow, even in lightness (five points of viridis), so that equal steps of depth look equal.
_GAP = 8  # pixels between the pictures of a sheet
_LINE = 18  # pixels of a line of text
_RAMP = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], dtype=np.float32)


def draw_mask(image: Image.Image, ids: Tensor, palette: "Sequence[Color]", opacity: float = 0.7) -> Image.Image:
    """Blends the classes' colours over the image; ids (H, W) of a black class or of none leave it as it is.

    Under a class the image is grey, so that a class has one colour on whatever it lies.
    """
    pixels = np.array(image.convert("RGB"), dtype=np.float32)
    ids_array = ids.cpu().numpy()
    known = (ids_array >= 0) & (ids_array < len(palette))
    colors = np.array(palette, dtype=np.float32)[np.where(known, ids_array, 0)]
    shown = known & colors.any(-1)
    grey = np.array(image.convert("L"), dtype=np.float32)[..., None]
    pixels[shown] = (1 - opacity) * grey[shown] + opacity * colors[shown]
    return Image.fromarray(pixels.round().astype(np.uint8))


def draw_depth(image: Image.Image, metres: Tensor, opacity: float = 0.8) -> Image.Image:
    """Blends a colour ramp over the image, near yellow, far dark blue; pixels of 0 (no value) stay as they are."""
    pixels = np.array(image.convert("RGB"), dtype=np.float32)
    depth = metres.cpu().numpy()
    valid = depth > 0
    if not valid.any():
        return image.convert("RGB")
    near, far = depth[valid].min(), depth[valid].max()
    place = (far - depth[valid]) / max(far - near, 1e-6) * (len(_RAMP) - 1)
    colors = np.stack([np.interp(place, range(len(_RAMP)), channel) for channel in _RAMP.T], axis=-1)
    pixels[valid] = (1 - opacity) * pixels[valid] + opacity * colors
    return Image.fromarray(pixels.round().astype(np.uint8))


def draw_boxes(
    image: Image.Image, boxes: Tensor, labels: Tensor, captions: Sequence[str], palette: "Sequence[Color]"
) -> Image.Image:
    """Draws boxes (N, 4) XYXY in pixels with a caption each."""
    canvas = image.convert("RGB")
    draw = ImageDraw.Draw(canvas)
    width = max(1, round(min(canvas.size) / 200))
    for box, label, caption in zip(boxes.tolist(), labels.tolist(), captions, strict=True):
        color = tuple(palette[label])
        draw.rectangle(box, outline=color, width=width)
        caption = _one_line(caption)
        left, top, right, bottom = draw.textbbox((box[0] + width, box[1] + width), caption)
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), fill=color)
        draw.text((box[0] + width, box[1] + width), caption, fill="black" if sum(color) > 380 else "white")
    return canvas


def contact_sheet(
    pictures: Sequence[Image.Image], titles: Sequence[str] = (), columns: int = 4, cell: int = 256
) -> Image.Image:
    """The pictures, each brought to the size of a square cell, in rows; small ones keep their pixels' edges.

    `titles`: one a picture, written under it; what is too long loses its beginning.
    """
    rows, line = -(-len(pictures) // columns), _LINE if titles else 0
    sheet = Image.new("RGB", (columns * cell, max(rows, 1) * (cell + line)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, picture in enumerate(pictures):
        method = Image.Resampling.NEAREST if max(picture.size) < cell else Image.Resampling.BICUBIC
        fitted = ImageOps.contain(picture.convert("RGB"), (cell - _GAP, cell - _GAP), method)
        row, column = divmod(index, columns)
        left, top = column * cell, row * (cell + line)
        sheet.paste(fitted, (left + (cell - fitted.width) // 2, top + (cell - fitted.height) // 2))
        if titles:
            title = _one_line(titles[index])
            while draw.textlength(title) > cell - _GAP:
                title = f"...{title[4:]}"
            draw.text((left + (cell - draw.textlength(title)) / 2, top + cell), title, fill="black")
    return sheet


def draw_legend(names: Sequence[str], palette: "Sequence[Color]", width: int = 1024) -> Image.Image:
    """Each class's colour and name, in lines of at most `width` pixels."""
    names = [_one_line(name) for name in names]
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    places, x, y = [], _GAP, _GAP // 2
    for name in names:
        needed = _LINE + round(measure.textlength(name)) + 2 * _GAP
        if x > _GAP and x + needed > width:
            x, y = _GAP, y + _LINE
        places.append((x, y))
        x += needed
    legend = Image.new("RGB", (width, y + _LINE + _GAP // 2), "white")
    draw = ImageDraw.Draw(legend)
    for (x, y), name, color in zip(places, names, palette, strict=True):
        draw.rectangle((x, y + 2, x + 11, y + 13), fill=tuple(color), outline="black")
        draw.text((x + _LINE, y + 2), name, fill="black")
    return legend


def _one_line(text: str) -> str:
    """Names of files and classes may hold line breaks and other characters that cannot be drawn."""
    return "".join(char if char.isprintable() else "?" for char in text)
