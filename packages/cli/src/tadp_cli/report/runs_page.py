"""The page about finished runs side by side."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tadp_cli.report.charts import Matrix, curves_figure, matrices_figure
from tadp_cli.report.grouping import TaskTable
from tadp_cli.report.page import render
from tadp_cli.report.rows import ImageRow


def runs_html(
    title: str,
    intro: str,
    *,
    sentences: Sequence[str] = (),
    lead: ImageRow | None = None,
    tables: Sequence[TaskTable] = (),
    losses: Mapping[str, tuple[Sequence[float], Sequence[float]]] | None = None,
    per_class: Mapping[str, Mapping[str, float]] | None = None,
    class_metric: str = "IoU",
    confusions: Mapping[str, Sequence[Sequence[float]]] | None = None,
    classes: Sequence[str] = (),
    colours: Mapping[str, Sequence[int]] | None = None,
    worst: Sequence[ImageRow] = (),
    best: Sequence[ImageRow] = (),
    labelled: bool = True,
    chosen: str = "",
    samples: Mapping[str, Image.Image] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    recipe: tuple[str, Mapping[str, Any]] | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """A section without content is left out.

    `sentences` and the image `lead` come first. `recipe`: (name, settings) of the one that the runs were trained with.
    By run: `losses` (steps, loss), `per_class` {class: metric in [0, 1]}, `confusions` (rows are the truth, of
    `classes`), `settings` {dotted name: value}. `colours` {class: colour in the overlays}. `chosen`: how `worst` and
    `best` were chosen; images that are not `labelled` are all in `best`.
    `samples` {token: sheet of images drawn with it}.
    """
    curves = {run: points for run, points in (losses or {}).items() if points[0]}
    shown = {run: values for run, values in (per_class or {}).items() if values}
    settings = settings or {}
    rows = _setting_rows(settings, recipe[1] if recipe else None)
    return render(
        "runs.html",
        title=title,
        intro=intro,
        sentences=sentences,
        lead=lead,
        tables=tables,
        curves=_drawn(lambda path: curves_figure(path, curves, x="step", y="training loss")) if curves else None,
        per_class=shown,
        class_metric=class_metric,
        classes=list(dict.fromkeys(name for values in shown.values() for name in values)),
        confusions=_confusions({run: matrix for run, matrix in (confusions or {}).items() if matrix}, classes),
        colours=colours or {},
        worst=worst,
        best=best,
        labelled=labelled,
        chosen=chosen,
        captioned=[row for row in (*worst, *best) if row.caption is not None and row.prompt is not None],
        samples=samples or {},
        settings=settings,
        recipe=recipe[0] if recipe else "",
        changed=[row for row in rows if any(row.marked)],
        unchanged=[row for row in rows if not any(row.marked)],
        environment=environment or {},
    )


class SettingRow(NamedTuple):
    """A setting in the recipe and in each run."""

    name: str
    own: Any
    """In the recipe; "" where none is known."""
    values: list[Any]
    marked: list[bool]
    """Where a run's value is not the recipe's, or without a recipe where runs differ."""


def _setting_rows(settings: Mapping[str, Mapping[str, Any]], recipe: Mapping[str, Any] | None) -> list[SettingRow]:
    names = dict.fromkeys(name for values in settings.values() for name in values)
    rows = []
    for name in names:
        values = [run.get(name, "") for run in settings.values()]
        differ = len({repr(value) for value in values}) > 1
        own = None if recipe is None else recipe.get(name, "")
        marked = [differ if recipe is None else differ or repr(value) != repr(own) for value in values]
        rows.append(SettingRow(name, "" if recipe is None else own, values, marked))
    return rows


def _confusions(matrices: Mapping[str, Sequence[Sequence[float]]], classes: Sequence[str]) -> dict[str, Image.Image]:
    """{alternative text: figure}; of two runs one figure, with their difference."""
    note = "Share of a class's pixels in percent: rows are the truth, columns what is predicted."
    if len(matrices) == 2:
        (first, before), (second, after) = matrices.items()
        less = (np.array(after) - np.array(before)).tolist()
        row = [Matrix(first, before), Matrix(second, after), Matrix(f"{second} minus {first}", less, signed=True)]
        note += " Right: percentage points."
        alt = f"confusion matrices of {first} and {second} and their difference"
        return {alt: _drawn(lambda path: matrices_figure(path, row, classes, note=note))}
    return {f"confusion matrix of {run}": _confusion(Matrix(run, m), classes, note) for run, m in matrices.items()}


def _confusion(matrix: Matrix, classes: Sequence[str], note: str) -> Image.Image:
    return _drawn(lambda path: matrices_figure(path, [matrix], classes, note=note))


def _drawn(draw: Callable[[Path], None]) -> Image.Image:
    """What a figure's function writes, as an image."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "chart.png"
        draw(path)
        with Image.open(path) as image:
            image.load()
            return image
