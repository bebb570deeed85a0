"""The images of a page about runs: the best, the worst, and the one that it begins with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from tadp_captioning import CaptionStore
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.pipelines.error_analysis import (
    Examined,
    caption_history,
    extremes,
    prediction_overlays,
    truth_overlay,
    word_maps,
)
from tadp_cli.report.rows import HeatRow, ImageRow
from tadp_heads import get_task

Overlays = tuple[Examined, Mapping[str, Image.Image]]
"""A run, and {image id: its prediction over the image}."""

_WORDS = 4
"""Heat maps of an image."""


class ShownImages(NamedTuple):
    """Rows of images, selected by the first run's metric per image."""

    best: list[ImageRow]
    """Of images without labels some, evenly spaced."""
    worst: list[ImageRow]
    lead: ImageRow | None
    """The one with the median metric, or the first one without labels."""


def rows_of_images(
    examined: Sequence[Examined], names: Mapping[Path, str], count: int, original_captions: Path | None
) -> ShownImages:
    """The `count` best and worst images of the first run; `names`: {run: what the page calls it}."""
    if not examined:
        return ShownImages([], [], None)
    first = examined[0]
    best, worst = extremes(first.per_image, first.recipe.task, count)
    if not first.labelled:
        known = first.opened.dataset.ids
        best = list(known[:: max(1, len(known) // (2 * count))][: 2 * count])
    order = sorted(first.per_image, key=first.per_image.__getitem__)
    ids = dict.fromkeys([*best, *worst, *order[len(order) // 2 :][:1]])
    if not ids:
        return ShownImages([], [], None)
    overlays = {names[e.run]: (e, prediction_overlays(e, list(ids))) for e in examined}
    originals = CaptionStore.read(original_captions) if original_captions else None
    rows = {image_id: _image_row(first, image_id, overlays, originals) for image_id in ids}
    lead = order[len(order) // 2] if order else best[0]
    return ShownImages([rows[i] for i in best], [rows[i] for i in worst], rows[lead])


def how_chosen(first: Examined, names: Mapping[Path, str], images: int) -> str:
    """How the images of the page were chosen."""
    count = min(images, len(first.opened.dataset))
    if not first.labelled:
        return f"Evenly spaced among the first {count} images of {first.where['folder']}; no labels are read."
    place = "/".join(filter(None, (Path(first.where.get("folder", "")).name, first.where.get("split", ""))))
    return f"by the metric of {names[first.run]} per image, of {count} images{f' of {place}' if place else ''}."


def _image_row(
    first: Examined, image_id: str, overlays: Mapping[str, Overlays], originals: CaptionStore | None
) -> ImageRow:
    image = to_pil(first.opened.dataset.read(image_id).image)
    history, maps = caption_history(first, image_id), word_maps(first, image_id, _WORDS)
    metric = get_task(first.recipe.task).main_metric
    shown = {}
    for name, (examined, drawn) in overlays.items():
        value = examined.per_image.get(image_id)
        score = "" if value is None else f"{metric.name} {metric.show(metric.scale * value)}"
        shown[name] = (drawn[image_id], score)
    written = originals[image_id] if originals is not None and image_id in originals else None
    return ImageRow(
        image=image,
        truth=truth_overlay(first, image_id) if first.labelled else None,
        title=image_id,
        predictions=shown,
        heat=HeatRow(image, history[1] if history else "", maps) if maps else None,
        caption=history[0] if history else None,
        written=written,
        prompt=history[1] if history else None,
    )
