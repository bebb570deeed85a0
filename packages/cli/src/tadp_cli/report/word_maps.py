"""The figure of one image's words: where each attends."""

import os
import textwrap
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tadp_cli.report.pictures import POOLING, colour_bar, heat_overlay
from tadp_cli.report.rows import HeatRow

COLUMNS = 5
_SIDE = 2.6  # inches of a panel's longer side
_DPI = 100
_FONT = {"family": "DejaVu Sans", "color": "#22252a", "parse_math": False}  # the font that comes with matplotlib


def word_figure(path: Path, row: HeatRow, prediction: Image.Image | None = None) -> None:
    """A PNG: the image, a prediction if given, and one panel a word, each map scaled to its own maximum."""
    panels = [("image", row.image), *([] if prediction is None else [("prediction", prediction)])]
    panels += [(f"“{word}”, max {heat.max():.2f}", heat_overlay(row.image, heat)) for word, heat in row.maps]
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    scale = _SIDE / max(row.image.size)
    width, height = (side * scale for side in row.image.size)
    size = (columns * (max(width, 1.4) + 0.15) + 0.15, rows * (height + 0.35) + 1.1)
    figure = Figure(figsize=size, dpi=_DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    figure.text(0.15 / size[0], 1 - 0.25 / size[1], _short(row.prompt, size[0]), va="center", fontsize=10, **_FONT)
    for index, (label, picture) in enumerate(panels):
        left = 0.15 + index % columns * (max(width, 1.4) + 0.15)
        top = 0.45 + index // columns * (height + 0.35)
        lower = size[1] - top - 0.25 - height
        axes = figure.add_axes((left / size[0], lower / size[1], width / size[0], height / size[1]))
        axes.imshow(picture, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        axes.set_title(label, fontsize=9, pad=3, loc="left", **_FONT)
    _foot(figure, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    canvas.print_png(temporary)
    os.replace(temporary, path)


def _foot(figure: Figure, size: tuple[float, float]) -> None:
    """The colour bar, and how the maps are pooled."""
    axes = figure.add_axes((0.3 / size[0], 0.36 / size[1], 1.2 / size[0], 0.1 / size[1]))
    axes.imshow(colour_bar(), aspect="auto")
    axes.set_axis_off()
    style = {"va": "center", "fontsize": 8, **_FONT}
    figure.text(0.15 / size[0], 0.41 / size[1], "0", **style)
    figure.text(1.58 / size[0], 0.41 / size[1], "max", **style)
    figure.text(0.15 / size[0], 0.16 / size[1], _short(POOLING, size[0], 15), **style)


def _short(text: str, inches: float, letters_an_inch: int = 11) -> str:
    return textwrap.shorten(text, max(10, int(inches * letters_an_inch)), placeholder=" …")
