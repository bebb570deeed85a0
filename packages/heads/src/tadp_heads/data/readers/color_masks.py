"""Masks that have a colour per class, with the file that says which."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from tadp_heads.data.errors import DataError
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import Color
from tadp_heads.data.settings import SETTINGS_FILE, DataSettings

LABEL_MAP = "labelmap.txt"
"""CVAT's, of "Segmentation mask": name:red,green,blue:parts:actions."""
_TABLES = ("class_dict.csv", "palette.csv")
"""CamVid's: name,r,g,b with a line of headings."""


class ColorTable:
    """RGB colours to indices of classes."""

    def __init__(self, colors: dict[str, Color]):
        self.colors = colors
        """{class: RGB colour}."""
        packed = _packed(np.array(list(colors.values()), dtype=np.uint8))
        self._order = np.argsort(packed)
        self._sorted = packed[self._order]

    def ids(self, image: Image.Image, path: Path) -> np.ndarray:
        """(H, W) uint8 indices into `colors`; a colour of no class is an error."""
        packed = _packed(np.array(image.convert("RGB")))
        places = np.searchsorted(self._sorted, packed).clip(max=len(self._sorted) - 1)
        unknown = self._sorted[places] != packed
        if unknown.any():
            row, column = np.argwhere(unknown)[0].tolist()
            color, more = image.convert("RGB").getpixel((column, row)), int(unknown.sum()) - 1
            raise DataError(
                path,
                found=f"the colour {color} at x {column}, y {row}, and {more} more pixels of no class",
                expected=f"the colours of {', '.join(self.colors)}",
                fix="add the colour to the palette; save masks without anti-aliasing, as PNG",
            )
        return self._order[places].astype(np.uint8)


def read_color_table(root: Path, settings: DataSettings) -> ColorTable | None:
    """Of tadp.toml, labelmap.txt, class_dict.csv or palette.csv; None where there is none of them."""
    path = root / SETTINGS_FILE
    rows = [(name, (red, green, blue)) for name, (red, green, blue) in settings.palette.items()]  # TOML has lists
    if not rows:
        tables = [root / name for name in (LABEL_MAP, *_TABLES) if (root / name).is_file()]
        if not tables:
            return None
        path = tables[0]
        rows = _read_rows(inside(root, path))
    names, colors = {name for name, _ in rows}, {color for _, color in rows}
    if len(names) < len(rows) or len(colors) < len(rows) or len(rows) > 255:
        raise DataError(
            path,
            found=f"{len(rows)} classes with {len(names)} names and {len(colors)} colours",
            expected="at most 255 classes, each with a name and a colour of its own",
            fix="correct the repetitions; classes may share a name by remap in tadp.toml",
        )
    return ColorTable(dict(rows))


def _read_rows(path: Path) -> list[tuple[str, Color]]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError:
        raise DataError(path, found="bytes that are not UTF-8", expected="a palette", fix="save it as UTF-8") from None
    lines = [line for line in lines if line and not line.startswith("#")]
    if path.name == LABEL_MAP:
        parts = [line.split(":") for line in lines]
        fields = [[part[0], *part[1].split(",")] if len(part) > 1 else part for part in parts]
    else:
        fields = list(csv.reader(lines))
        fields = fields[1:] if fields and not fields[0][-1].strip().isdecimal() else fields
    return [(row[0].strip(), _color(path, row)) for row in fields]


def _color(path: Path, row: list[str]) -> Color:
    channels = [text.strip() for text in row[1:]]
    if len(channels) != 3 or not all(text.isdecimal() and int(text) < 256 for text in channels) or not row[0].strip():
        raise DataError(
            path,
            found=f"the line {', '.join(row)[:80]!r}",
            expected="name, red, green, blue (0 to 255)",
            fix="correct it",
        )
    red, green, blue = map(int, channels)
    return red, green, blue


def _packed(colors: np.ndarray) -> np.ndarray:
    """(..., 3) uint8 -> (...) one number per colour."""
    wide = colors.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
