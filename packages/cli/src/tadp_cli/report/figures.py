"""Figures for a README: drawn with matplotlib's Agg canvas, without pyplot's global state."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from tadp_cli.report.heat_maps import POOLING, colour_bar, heat_overlay
from tadp_cli.report.rows import HeatRow, PredictionRow
from tadp_cli.report.style import DPI, FONT, new_figure, save_figure, show_image

WORDS, PROMPTS = 3, 3
"""Heat maps and predictions in a row of the overview."""
_WIDTH = 1400  # pixels
_MARGIN, _GAP, _LABEL, _TITLE, _ROW_GAP, _FOOT = 20, 12, 22, 24, 28, 56


def overview_figure(
    path: Path,
    heat_maps: Sequence[HeatRow],
    predictions: Sequence[PredictionRow],
    classes: Mapping[str, tuple[int, int, int]],
) -> None:
    """One PNG, 1400 pixels wide; row i is heat_maps[i] and predictions[i], which are of the same image.

    Image, maps of the first three words, truth, the first three predictions; below, the colours of `classes`.
    """
    rows = list(zip(heat_maps, predictions, strict=True))
    if not rows:
        raise ValueError("an overview of no images: give at least one heat map and one prediction")
    columns = 2 + WORDS + PROMPTS
    side = (_WIDTH - 2 * _MARGIN - (columns - 1) * _GAP) / columns
    tall = [side * heat.image.height / heat.image.width for heat, _ in rows]
    height = round(_MARGIN + sum(_TITLE + _LABEL + t + _ROW_GAP for t in tall) + _FOOT)
    figure = new_figure(_WIDTH / DPI, height / DPI)
    top = float(_MARGIN)
    for (heat, prediction), size in zip(rows, tall, strict=True):
        figure.text(
            _MARGIN / _WIDTH, 1 - (top + 8) / height, _title(heat, prediction), va="center", fontsize=11, **FONT
        )
        for column, (label, image) in _panels(heat, prediction).items():
            left = _MARGIN + column * (side + _GAP)
            lower = top + _TITLE + _LABEL + size
            axes = figure.add_axes((left / _WIDTH, 1 - lower / height, side / _WIDTH, size / height))
            show_image(axes, image, label, size=10.5)
        top += _TITLE + _LABEL + size + _ROW_GAP
    _foot(figure, height, side)
    _legend(figure, height, classes)
    save_figure(figure, path)


def _panels(heat: HeatRow, prediction: PredictionRow) -> dict[int, tuple[str, Image.Image]]:
    """{column: (label, image)}; columns of words or prompts that are not there stay empty."""
    shown = {0: ("image", heat.image), 1 + WORDS: ("truth", prediction.truth)}
    for index, (word, values) in enumerate(heat.maps[:WORDS]):
        shown[1 + index] = (f"“{word}”, max {values.max():.2f}", heat_overlay(heat.image, values, heat.peak))
    for index, (prompt, image) in enumerate(list(prediction.predictions.items())[:PROMPTS]):
        shown[2 + WORDS + index] = (prompt, image)
    return shown


def _foot(figure: Figure, height: int, side: float) -> None:
    """The colour bar under the maps, and what they are."""
    left = _MARGIN + side + _GAP
    middle = 1 - (height - _FOOT + 6) / height
    axes = figure.add_axes(((left + 16) / _WIDTH, middle - 6 / height, 150 / _WIDTH, 12 / height))
    axes.imshow(colour_bar(), aspect="auto")
    axes.set_axis_off()
    style: dict[str, Any] = {"va": "center", "fontsize": 9.5, **FONT}
    figure.text(left / _WIDTH, middle, "0", **style)
    figure.text((left + 174) / _WIDTH, middle, f"max    {POOLING}", **style)


def _legend(figure: Figure, height: int, classes: Mapping[str, tuple[int, int, int]]) -> None:
    middle = 16 / height
    for index, (name, color) in enumerate(classes.items()):
        left = _MARGIN + index * (_WIDTH - 2 * _MARGIN) / len(classes)
        swatch = figure.add_axes((left / _WIDTH, middle - 6 / height, 12 / _WIDTH, 12 / height), xticks=[], yticks=[])
        red, green, blue = (channel / 255 for channel in color)
        swatch.set_facecolor((red, green, blue))
        figure.text((left + 17) / _WIDTH, middle, name, va="center", fontsize=9.5, **FONT)


def _title(heat: HeatRow, prediction: PredictionRow) -> str:
    shown = prediction.title
    if heat.prompt not in shown:
        shown += f"; maps: of the prompt “{heat.prompt}”"
    return textwrap.shorten(shown, 170, placeholder=" …")
