"""What all figures share: fonts, colours, resolution, and how a figure becomes a file. No pyplot, no global state."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from tadp_heads.atomic_files import replacing

INK, SOFT, GRID = "#22252a", "#5c636d", "#dcdad3"
FONT: dict[str, Any] = {"family": "DejaVu Sans", "color": INK, "parse_math": False}  # it comes with matplotlib
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#22252a")
"""Okabe and Ito's colours, distinguished without colour vision too; the first series is the first colour everywhere."""
AMOUNTS = "viridis"
"""Colours of a matrix of amounts: even in lightness."""
DIFFERENCES = "PuOr_r"
"""Of a matrix of differences: orange above 0, purple below, distinguished without colour vision too."""
DPI = 100


def new_figure(width: float, height: float) -> Figure:
    """White, of so many inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """A PNG; atomic: the file is there whole or not at all."""
    with replacing(path) as partial:
        FigureCanvasAgg(figure).print_png(partial)


def show_image(axes: Axes, image: Image.Image, label: str, size: float = 9) -> None:
    """An image with hard pixels and a label above it."""
    axes.imshow(image, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    axes.set_title(label, fontsize=size, pad=3, loc="left", **FONT)
