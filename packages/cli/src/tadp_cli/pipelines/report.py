"""The page about finished runs: settings, metrics, best and worst images."""

import platform
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tadp_cli.config.inheritance import shipped_recipes
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.console.reporter import Report
from tadp_cli.device import checked_device
from tadp_cli.pipelines.error_analysis import Examined, examine_run, loss_curve
from tadp_cli.report.grouping import class_metric, group_rows, task_tables
from tadp_cli.report.image_rows import how_chosen, rows_of_images
from tadp_cli.report.prediction_sheet import write_prediction_sheet
from tadp_cli.report.runs_page import runs_html
from tadp_cli.report.summary import class_columns, summary
from tadp_cli.run.resume import flat_settings
from tadp_cli.run.run import Run
from tadp_heads.atomic_files import write_text
from tadp_heads.data.registry import labelled_splits

_LIBRARIES = ("torch", "diffusers", "transformers", "tadp-cli")


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Optional parts of a page, in addition to metrics and settings."""

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
            raise ValueError("--split, --captions and --domain need the images to show: name them with --data")
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
    shown = rows_of_images(examined, names, options.shown, options.original_captions)
    first = examined[0].opened if examined else None
    title = next(iter(names.values())) if len(names) == 1 else f"{len(names)} runs side by side"
    evaluations = {name: Run(run).evaluations for run, name in names.items()}
    classes = class_columns(evaluations)
    if options.where or options.on_target or not classes:
        classes |= {f"{names[e.run]}, images of this page": e.per_class for e in examined}
    named = {name: recipes[run] for run, name in names.items()}
    page = runs_html(
        title,
        _intro(recipes),
        sentences=summary(named, evaluations, shown.lead.prompt or "" if shown.lead else ""),
        lead=shown.lead,
        tables=task_tables(group_rows({"rows": rows})),
        losses={name: loss_curve(run) for run, name in names.items()},
        per_class=classes,
        class_metric=class_metric(next(iter(recipes.values())).task),
        confusions={names[e.run]: e.confusion for e in examined},
        classes=first.dataset.classes if first else (),
        colours=dict(zip(first.model.config.classes, first.model.config.palette, strict=True)) if first else {},
        worst=shown.worst,
        best=shown.best,
        labelled=examined[0].labelled if examined else True,
        chosen=how_chosen(examined[0], names, options.images) if examined else "",
        samples=_samples(recipes),
        settings={name: flat_settings(recipe) for name, recipe in named.items()},
        recipe=_common_recipe(recipes.values()),
        environment=_environment(options.device),
    )
    write_text(path, page)


def run_names(runs: Sequence[Path]) -> list[str]:
    """A folder's name where that is unique among the runs, else its path."""
    short = [run.resolve().name for run in runs]
    return [name if short.count(name) == 1 else str(run) for name, run in zip(short, runs, strict=True)]


def _intro(recipes: Mapping[Path, Recipe]) -> str:
    tasks = " and ".join(dict.fromkeys(recipe.task for recipe in recipes.values()))
    text = f"Text-aligned diffusion perception: {tasks}. The backbone's prompt is part of each run."
    if any(recipe.backbone.source == "tiny" for recipe in recipes.values()):
        text += " Runs on the backbone tiny are at small scale, not Stable Diffusion."
    return text


def _common_recipe(recipes: Collection[Recipe]) -> tuple[str, dict[str, Any]] | None:
    """(name, settings) of the package's recipe that all runs were trained with; None where there is none."""
    found = {known[0]: known[1] for recipe in recipes if (known := recipe_of_package(recipe))}
    if len(found) != 1 or not all(map(recipe_of_package, recipes)):
        return None
    name, recipe = next(iter(found.items()))
    return name, flat_settings(recipe)


def _where(recipe: Recipe, options: ReportOptions) -> tuple[str, str, str]:
    """Runs of the same task, data and split can be compared image by image."""
    if options.where:
        return recipe.task, options.where["folder"], options.where["split"]
    if options.on_target:
        return recipe.task, recipe.test.folder, recipe.test.split
    return recipe.task, recipe.data.folder, recipe.data.val


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


def recipe_of_package(recipe: Recipe) -> tuple[str, Recipe] | None:
    """(name, recipe) of the package's with the same description, which settings do not change; None: a recipe of one's
    own."""
    for name, file in shipped_recipes().items():
        described = tomllib.loads(file.read_text(encoding="utf-8")).get("description")
        if described and described == recipe.description:
            return name, load_recipe(name)
    return None
