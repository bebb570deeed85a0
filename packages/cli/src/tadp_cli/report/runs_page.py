"""The page about finished runs side by side."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from tadp_cli.report.charts import Matrix, curves_figure, matrices_figure
from tadp_cli.report.grouping import TaskTable
from tadp_cli.report.page import render
from tadp_cli.report.rows import ImageRow


def runs_html(
    title: str,
    intro: str,
    *,
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
    environment: Mapping[str, str] | None = None,
) -> str:
    """A section without content is left out.

    By run: `losses` (steps, loss), `per_class` {class: metric in [0, 1]}, `confusions` (rows are the truth, of
    `classes`), `settings` {dotted name: value}. `colours` {class: colour in the overlays}. `chosen`: how `worst` and
    `best` were chosen; images that are not `labelled` are all in `best`.
    `samples` {token: sheet of images drawn with it}.
    """
    curves = {run: points for run, points in (losses or {}).items() if points[0]}
    shown = {run: values for run, values in (per_class or {}).items() if values}
    settings = settings or {}
    names, differing = _names(settings)
    return render(
        "runs.html",
        title=title,
        intro=intro,
        tables=tables,
        curves=_drawn(lambda path: curves_figure(path, curves, x="step", y="training loss")) if curves else None,
        per_class=shown,
        class_metric=class_metric,
        classes=list(dict.fromkeys(name for values in shown.values() for name in values)),
        confusions={run: _confusion(run, matrix, classes) for run, matrix in (confusions or {}).items() if matrix},
        colours=colours or {},
        worst=worst,
        best=best,
        labelled=labelled,
        chosen=chosen,
        captioned=[row for row in (*worst, *best) if row.caption is not None and row.prompt is not None],
        samples=samples or {},
        settings=settings,
        setting_rows=[(name, [values.get(name, "") for values in settings.values()]) for name in names],
        differing=differing,
        environment=environment or {},
    )


def _names(settings: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """(names of settings, those that differ between runs first; those that differ)."""
    names = dict.fromkeys(name for values in settings.values() for name in values)
    missing = object()
    differing = [n for n in names if len({repr(values.get(n, missing)) for values in settings.values()}) > 1]
    return list(dict.fromkeys((*differing, *names))), differing


def _confusion(run: str, matrix: Sequence[Sequence[float]], classes: Sequence[str]) -> Image.Image:
    note = "Share of a class's pixels in percent: rows are the truth, columns what is predicted."
    return _drawn(lambda path: matrices_figure(path, [Matrix(run, matrix)], classes, note=note))


def _drawn(draw: Callable[[Path], None]) -> Image.Image:
    """What a figure's function writes, as an image."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "chart.png"
        draw(path)
        with Image.open(path) as image:
            image.load()
            return image
