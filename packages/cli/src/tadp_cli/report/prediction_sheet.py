"""A figure of images with their annotation and the prediction of each run side by side (paper, Figures S11 to S20)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tadp_cli.inputs.user_images import to_pil
from tadp_cli.pipelines.error_analysis import Examined, extremes, prediction_overlays, truth_overlay
from tadp_cli.report.heat_map_sheets import Panel, sheet_figure
from tadp_heads import get_task


def write_prediction_sheet(path: Path, examined: Sequence[Examined], names: Mapping[Path, str], count: int) -> None:
    """A row per image: those on which the last run is furthest ahead of the first, then those where it is behind.

    Of a single run: its best and its worst images. `names`: {run: what the figure calls it}; `count`: images of each.
    """
    first, last = examined[0], examined[-1]
    ahead, behind = extremes(_compared(first, last), last.recipe.task, count)
    ids = [*ahead, *behind]
    if not ids:
        raise ValueError(f"{first.run}: fewer than two images with a metric: a figure needs more; raise --images")
    overlays = {run.run: prediction_overlays(run, ids) for run in examined}
    metric = get_task(first.recipe.task).main_metric
    rows = []
    for image_id in ids:
        image = to_pil(first.opened.dataset.read(image_id).image)
        row = [Panel(image_id, image), Panel("annotation", truth_overlay(first, image_id))]
        for run in examined:
            score = metric.show(metric.scale * run.per_image[image_id])
            row.append(Panel(f"{names[run.run]}: {metric.name} {score}", overlays[run.run][image_id]))
        rows.append(row)
    order = f"{names[last.run]} against {names[first.run]}" if len(examined) > 1 else names[first.run]
    title = f"{order}: the {len(ahead)} best images, then the {len(behind)} worst"
    config = first.opened.model.config
    sheet_figure(
        path, titles=[title], rows=rows, foot=(), classes=dict(zip(config.classes, config.palette, strict=True))
    )


def _compared(first: Examined, last: Examined) -> dict[str, float]:
    """{image id: the last run's metric minus the first's}; of a single run, its metric."""
    if first is last:
        return first.per_image
    return {name: last.per_image[name] - value for name, value in first.per_image.items() if name in last.per_image}
