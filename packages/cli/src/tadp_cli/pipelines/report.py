"""The page about finished runs: what they were, what they score, where they are right and wrong."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tadp_captioning import CaptionStore
from tadp_cli._io import write_text
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.device import checked_device
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.pipelines.error_analysis import (
    Examined,
    caption_history,
    examine_run,
    extremes,
    loss_curve,
    prediction_overlays,
    truth_overlay,
    word_maps,
)
from tadp_cli.report.grouping import class_metric, group_rows, task_tables
from tadp_cli.report.prediction_sheet import write_prediction_sheet
from tadp_cli.report.rows import HeatRow, ImageRow
from tadp_cli.report.runs_page import runs_html
from tadp_cli.run.resume import flat_settings
from tadp_heads import get_task
from tadp_heads.data.registry import labelled_splits

Overlays = tuple[Examined, Mapping[str, Image.Image]]
"""A run, and {image id: its prediction over the image}."""

_WORDS = 4
"""Heat maps of an image."""
_LIBRARIES = ("torch", "diffusers", "transformers", "tadp-cli")


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What a page shows besides metrics and settings."""

    images: int = 100
    """Images of the set that are predicted once more; 0: none, so no images and no confusions."""
    shown: int = 4
    """Best and worst images, of each so many."""
    original_captions: Path | None = None
    """Captions as they were before cleaning."""
    sheet: Path | None = None
    """A PNG to write: images, annotations and the predictions of all runs side by side."""
    on_target: bool = False
    """Whether the images are those of the recipe's test data in place of the validation split."""
    where: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `EvaluateOptions` that name another set; empty: the validation split. Without labels it is shown."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.images < 0 or self.shown < 1:
            raise ValueError(f"--images {self.images}, --shown {self.shown}: expected at least 0 and at least 1")
        if self.sheet is not None and (not self.images or self.sheet.suffix.lower() != ".png"):
            raise ValueError(f"--sheet {self.sheet}: expected the name of a .png file, and --images above 0")


def set_to_show(
    task: str, data: Path | None, split: str, captions: Path | None, domain: str, on_target: bool
) -> dict[str, Any]:
    """The fields of `EvaluateOptions` for a set that a user names, {} for none; labels are read where it has some."""
    if data is None:
        if split or captions or domain:
            raise ValueError("--split, --captions and --domain are those of the images to show: name them with --data")
        return {}
    if on_target:
        raise ValueError(f"--data {data} or --target: expected one of them")
    splits = labelled_splits(str(data), task)
    if not split and len(splits) > 1:
        raise ValueError(f"{data} has labels in the splits {', '.join(splits)}: name one of them with --split")
    labelled = split in splits if split else bool(splits)
    split = split or next(iter(splits), "")
    return {"folder": str(data), "split": split, "captions": captions, "domain": domain, "labelled": labelled}


def write_run_report(
    path: Path,
    recipes: Mapping[Path, Recipe],
    rows: Sequence[dict[str, Any]],
    options: ReportOptions,
    report: Report,
) -> None:
    """One page for all the runs; image by image, runs on the first run's task, data and split are compared."""
    names = dict(zip(recipes, run_names(list(recipes)), strict=True))
    examined: list[Examined] = []
    if options.images:
        place = checked_device(options.device)
        where = _where(next(iter(recipes.values())), options)
        alike = [run for run, recipe in recipes.items() if _where(recipe, options) == where]
        examine = partial(examine_run, on_target=options.on_target, where=options.where, device=place, report=report)
        examined = [examine(run, options.images) for run in alike]
    if options.sheet is not None:
        write_prediction_sheet(options.sheet, examined, names, options.shown)
    best, worst = _extreme_rows(examined, names, options)
    first = examined[0].scorable if examined else None
    title = next(iter(names.values())) if len(names) == 1 else f"{len(names)} runs side by side"
    count = min(options.images, len(first.dataset)) if first else 0
    page = runs_html(
        title,
        _intro(recipes),
        tables=task_tables(group_rows({"rows": rows})),
        losses={name: loss_curve(run) for run, name in names.items()},
        per_class={names[e.run]: e.per_class for e in examined},
        class_metric=class_metric(next(iter(recipes.values())).task),
        confusions={names[e.run]: e.confusion for e in examined},
        classes=first.dataset.classes if first else (),
        colours=dict(zip(first.model.config.classes, first.model.config.palette, strict=True)) if first else {},
        worst=worst,
        best=best,
        labelled=examined[0].labelled if examined else True,
        chosen=_chosen(examined[0], names, count) if examined else "",
        samples=_samples(recipes),
        settings={name: flat_settings(recipes[run]) for run, name in names.items()},
        environment=_environment(options.device),
    )
    write_text(path, page)


def run_names(runs: Sequence[Path]) -> list[str]:
    """A folder's name where that is enough to tell the runs apart, else its path."""
    short = [run.resolve().name for run in runs]
    return [name if short.count(name) == 1 else str(run) for name, run in zip(short, runs, strict=True)]


def _intro(recipes: Mapping[Path, Recipe]) -> str:
    tasks = " and ".join(dict.fromkeys(recipe.task for recipe in recipes.values()))
    text = f"Text-aligned diffusion perception: {tasks}. The backbone's prompt is part of each run."
    if any(recipe.backbone.source == "tiny" for recipe in recipes.values()):
        text += " Runs on the backbone tiny are at small scale, not Stable Diffusion."
    return text


def _where(recipe: Recipe, options: ReportOptions) -> tuple[str, str, str]:
    """Runs of the same task, data and split can be compared image by image."""
    if options.where:
        return recipe.task, options.where["folder"], options.where["split"]
    if options.on_target:
        return recipe.task, recipe.test.folder, recipe.test.split
    return recipe.task, recipe.data.folder, recipe.data.val


def _chosen(first: Examined, names: Mapping[Path, str], count: int) -> str:
    """How the images of the page were chosen."""
    if not first.labelled:
        return f"Evenly spaced among the first {count} images of {first.where['folder']}; no labels are read."
    place = "/".join(filter(None, (Path(first.where.get("folder", "")).name, first.where.get("split", ""))))
    return f"by the score of {names[first.run]} on the image alone, of {count} images{f' of {place}' if place else ''}."


def _extreme_rows(
    examined: Sequence[Examined], names: Mapping[Path, str], options: ReportOptions
) -> tuple[list[ImageRow], list[ImageRow]]:
    """Rows of the best and of the worst images of the first run; of images without labels some, and none."""
    if not examined:
        return [], []
    first = examined[0]
    best, worst = extremes(first.scores, first.recipe.task, options.shown)
    if not first.labelled:
        known = first.scorable.dataset.ids
        best = list(known[:: max(1, len(known) // (2 * options.shown))][: 2 * options.shown])
    ids = [*best, *worst]
    if not ids:
        return [], []
    overlays = {names[e.run]: (e, prediction_overlays(e, ids)) for e in examined}
    originals = CaptionStore.read(options.original_captions) if options.original_captions else None
    rows = {image_id: _image_row(first, image_id, overlays, originals) for image_id in ids}
    return [rows[i] for i in best], [rows[i] for i in worst]


def _image_row(
    first: Examined, image_id: str, overlays: Mapping[str, Overlays], originals: CaptionStore | None
) -> ImageRow:
    image = to_pil(first.scorable.dataset.read(image_id).image)
    history, maps = caption_history(first, image_id), word_maps(first, image_id, _WORDS)
    metric = get_task(first.recipe.task).main_metric
    shown = {}
    for name, (examined, pictures) in overlays.items():
        value = examined.scores.get(image_id)
        score = "" if value is None else f"{metric.name} {metric.show(metric.scale * value)}"
        shown[name] = (pictures[image_id], score)
    written = originals[image_id] if originals is not None and image_id in originals else None
    prompt = history[1] if history else ""
    return ImageRow(
        image=image,
        truth=truth_overlay(first, image_id) if first.labelled else None,
        title=image_id,
        predictions=shown,
        heat=HeatRow(image, prompt, maps) if maps else None,
        caption=history[0] if history else None,
        written=written,
        prompt=history[1] if history else None,
    )


def _samples(recipes: Mapping[Path, Recipe]) -> dict[str, Image.Image]:
    """The last sheet that personalization drew next to a run's token, UNet or LoRA."""
    sheets = {}
    for recipe in recipes.values():
        for source in (recipe.prompt.token_file, recipe.backbone.unet, recipe.backbone.lora):
            drawn = next((f / "samples" / "final.png" for f in (Path(source).parent, Path(source)) if source), None)
            if drawn is not None and drawn.is_file():
                with Image.open(drawn) as sheet:
                    sheets[recipe.prompt.token or recipe.prompt.domain] = sheet.convert("RGB")
    return sheets


def _environment(device: str) -> dict[str, str]:
    found = {"python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    found |= {name: version(name) for name in _LIBRARIES}
    found["device"] = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return found
