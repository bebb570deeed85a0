"""Sheets of heat maps: panels in rows below a title, with the colour bar and what the maps are."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tadp_cli.report.heat_maps import colour_bar, heat_overlay
from tadp_cli.report.style import DPI, FONT, new_figure, save_figure, show_image
from tadp_heads.data.palette import Color
from tadp_heads.overlay import draw_legend

_GAP, _LABEL, _LINE = 0.15, 0.25, 0.22  # inches: between panels, above a panel, of a line of text
_LEAST = 1.4  # inches of a column, so that labels do not run into each other


class Panel(NamedTuple):
    label: str
    image: Image.Image


def heat_panel(image: Image.Image, label: str, heat: np.ndarray, peak: float | None = None) -> Panel:
    """A map (H, W) over the image, with its maximum; scaled to `peak`, None: its own maximum."""
    return Panel(f"{label}, max {heat.max():.2f}", heat_overlay(image, heat, peak))


def sheet_figure(
    path: Path,
    *,
    titles: Sequence[str],
    rows: Sequence[Sequence[Panel | None]],
    foot: Sequence[str],
    side: float = 2.6,
    classes: Mapping[str, Color] | None = None,
) -> None:
    """A PNG; panels are of one size, `side` inches on their longer side, None leaves a place empty.

    `foot` are lines below the colour bar: how the maps are pooled and scaled; a sheet without maps has neither.
    `classes` {name: colour} are the legend at the bottom.
    """
    first = next(panel for row in rows for panel in row if panel is not None).image
    scale = side / max(first.size)
    width, height = first.width * scale, first.height * scale
    step = max(width, _LEAST) + _GAP
    head = 0.15 + _LINE * len(titles)
    across = max(map(len, rows)) * step + _GAP
    legend = draw_legend(list(classes), list(classes.values()), round(across * DPI)) if classes else None
    below = 0.0 if legend is None else legend.height / DPI
    size = (across, head + len(rows) * (height + _LABEL + 0.1) + 0.45 + _LINE * len(foot) + below)
    figure = new_figure(*size)
    for line, title in enumerate(titles):
        top = 1 - (0.2 + line * _LINE) / size[1]
        figure.text(0.15 / size[0], top, _short(title, size[0], 11), va="center", fontsize=10, **FONT)
    for index, row in enumerate(rows):
        lower = size[1] - head - index * (height + _LABEL + 0.1) - _LABEL - height
        for column, panel in enumerate(row):
            if panel is not None:
                left = _GAP + column * step
                axes = figure.add_axes((left / size[0], lower / size[1], width / size[0], height / size[1]))
                show_image(axes, panel.image, panel.label)
    if foot:
        _foot(figure, size, foot, below)
    if legend is not None:
        figure.figimage(np.asarray(legend), 0, 0)
    save_figure(figure, path)


def _foot(figure: Figure, size: tuple[float, float], lines: Sequence[str], below: float) -> None:
    """The colour bar, and how the maps are to be read, `below` inches above the lower edge."""
    bar = below + 0.12 + _LINE * len(lines)
    axes = figure.add_axes((0.3 / size[0], bar / size[1], 1.2 / size[0], 0.1 / size[1]))
    axes.imshow(colour_bar(), aspect="auto")
    axes.set_axis_off()
    style: dict[str, Any] = {"va": "center", "fontsize": 8, **FONT}
    figure.text(0.15 / size[0], (bar + 0.05) / size[1], "0", **style)
    figure.text(1.58 / size[0], (bar + 0.05) / size[1], "max", **style)
    for number, line in enumerate(reversed(lines)):
        figure.text(0.15 / size[0], (below + 0.14 + number * _LINE) / size[1], _short(line, size[0], 15), **style)


def _short(text: str, inches: float, letters_an_inch: int) -> str:
    return textwrap.shorten(text, max(10, int(inches * letters_an_inch)), placeholder=" …")
