"""Charts of analyses and reports: points with their line, matrices side by side, curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tadp_cli.report.style import AMOUNTS, DIFFERENCES, FONT, GRID, INK, SERIES, SOFT, new_figure, save_figure

_SIZE, _SMALL = 9.5, 8
_PRINTED = 14
"""Matrices of at most this many classes have their numbers printed."""


class Scatter(NamedTuple):
    """Points and the straight line through them."""

    x: Sequence[float]
    y: Sequence[float]
    slope: float
    intercept: float
    label: str


class Matrix(NamedTuple):
    title: str
    rows: Sequence[Sequence[float]]
    """In [0, 1], `signed` in [-1, 1]; rows are the truth."""
    signed: bool = False
    """Whether it is a difference: on a scale of its own, light where it is 0."""


def scatter_figure(path: Path, points: Scatter, *, x: str, y: str, title: str) -> None:
    """A PNG of one chart."""
    figure = new_figure(5.6, 4.2)
    axes = _axes(figure, (0.13, 0.14, 0.83, 0.74), x, y)
    axes.scatter(points.x, points.y, s=16, color=SERIES[0], alpha=0.45, linewidths=0)
    ends = [min(points.x), max(points.x)]
    line = [points.intercept + points.slope * end for end in ends]
    axes.plot(ends, line, color=SERIES[1], linewidth=2)
    axes.set_title(f"{title}: {points.label}", fontsize=10.5, loc="left", **FONT)
    save_figure(figure, path)


def matrices_figure(path: Path, matrices: Sequence[Matrix], classes: Sequence[str], *, note: str) -> None:
    """A PNG of matrices side by side on one scale from 0 to 1; a signed one comes last, with its own scale."""
    side = max(3.6, 0.36 * len(classes))
    last = len(matrices) - 1
    with_bar = {last, *(index - 1 for index, matrix in enumerate(matrices) if matrix.signed and index)}
    width, height = 0.85 + len(matrices) * (side + 0.4) + 0.75 * len(with_bar), side + 1.75
    figure, left = new_figure(width, height), 1.0
    for index, matrix in enumerate(matrices):
        axes = figure.add_axes((left / width, 1.25 / height, side / width, side / height))
        colours = _colours(matrix)
        _draw_matrix(axes, matrix, colours, classes, first=index == 0)
        left += side + 0.4
        if index in with_bar:
            bar = figure.add_axes(((left - 0.3) / width, 1.25 / height, 0.14 / width, side / height))
            figure.colorbar(colours, cax=bar)
            bar.tick_params(labelsize=_SMALL, colors=INK)
            left += 0.75
    figure.text(0.15 / width, 0.15 / height, note, fontsize=_SIZE, **FONT)
    save_figure(figure, path)


def curves_figure(path: Path, curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, x: str, y: str) -> None:
    """A PNG of one line per name, {name: (x, y)}."""
    figure = new_figure(6.4, 3.4)
    axes = _axes(figure, (0.11, 0.16, 0.85, 0.79), x, y)
    for index, (name, (steps, values)) in enumerate(curves.items()):
        style = "-" if index < len(SERIES) else "--"
        axes.plot(steps, values, style, color=SERIES[index % len(SERIES)], linewidth=1.6, label=name)
    if len(curves) > 1:
        for text in axes.legend(fontsize=_SMALL, edgecolor=GRID).get_texts():
            text.set_parse_math(False)
    save_figure(figure, path)


def _colours(matrix: Matrix) -> ScalarMappable:
    """Those of a matrix's values."""
    largest = max(float(np.abs(np.array(matrix.rows)).max()), 0.01)
    return ScalarMappable(
        *((Normalize(-largest, largest), DIFFERENCES) if matrix.signed else (Normalize(0, 1), AMOUNTS))
    )


def _draw_matrix(axes: Axes, matrix: Matrix, colours: ScalarMappable, classes: Sequence[str], first: bool) -> None:
    drawn = colours.to_rgba(np.array(matrix.rows))
    axes.imshow(drawn, aspect="equal")
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=90, fontsize=_SMALL, **FONT)
    axes.set_yticks(places, classes if first else [""] * len(classes), fontsize=_SMALL, **FONT)
    axes.tick_params(length=0)
    axes.set_title(matrix.title, fontsize=10.5, loc="left", **FONT)
    if len(classes) <= _PRINTED:
        for i, row in enumerate(matrix.rows):
            for j, value in enumerate(row):
                colour = "white" if drawn[i, j, :3] @ (0.3, 0.6, 0.1) < 0.5 else INK
                shown = f"{100 * value:+.0f}" if matrix.signed and round(100 * value) else f"{abs(100 * value):.0f}"
                axes.text(j, i, shown, ha="center", va="center", fontsize=6.5, color=colour)


def _axes(figure: Figure, place: tuple[float, float, float, float], x: str, y: str) -> Axes:
    axes = figure.add_axes(place)
    axes.set_xlabel(x, fontsize=_SIZE, **FONT)
    axes.set_ylabel(y, fontsize=_SIZE, **FONT)
    axes.tick_params(labelsize=_SMALL, colors=SOFT)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)
    return axes
