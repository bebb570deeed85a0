"""Sheets of images, and the legend of classes."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageOps

from tadp_heads.data.palette import Color

_GAP = 8  # pixels between the images of a sheet
_LINE = 18  # pixels of a line of text


def contact_sheet(
    images: Sequence[Image.Image], titles: Sequence[str] = (), columns: int = 4, cell: int = 256
) -> Image.Image:
    """The images, each scaled to the size of a square cell, in rows; small ones keep their pixels' edges.

    `titles`: one per image, written under it; long ones lose their beginning.
    """
    rows, line = -(-len(images) // columns), _LINE if titles else 0
    sheet = Image.new("RGB", (columns * cell, max(rows, 1) * (cell + line)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        method = Image.Resampling.NEAREST if max(image.size) < cell else Image.Resampling.BICUBIC
        fitted = ImageOps.contain(image.convert("RGB"), (cell - _GAP, cell - _GAP), method)
        row, column = divmod(index, columns)
        left, top = column * cell, row * (cell + line)
        sheet.paste(fitted, (left + (cell - fitted.width) // 2, top + (cell - fitted.height) // 2))
        if titles:
            title = one_line(titles[index])
            while draw.textlength(title) > cell - _GAP:
                title = f"...{title[4:]}"
            draw.text((left + (cell - draw.textlength(title)) / 2, top + cell), title, fill="black")
    return sheet


def draw_legend(names: Sequence[str], palette: Sequence[Color], width: int = 1024) -> Image.Image:
    """Each class's colour and name, in lines of at most `width` pixels."""
    names = [one_line(name) for name in names]
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


def one_line(text: str) -> str:
    """Names of files and classes may hold line breaks and other characters that cannot be drawn."""
    return "".join(char if char.isprintable() else "?" for char in text)


def stacked(first: Image.Image, second: Image.Image) -> Image.Image:
    """The second image below the first, left-aligned, on white."""
    column = Image.new("RGB", (max(first.width, second.width), first.height + second.height), "white")
    column.paste(first.convert("RGB"))
    column.paste(second.convert("RGB"), (0, first.height))
    return column
