"""Scenes for commands that are given no data: below the working directory, written where they are missing."""

import time
from pathlib import Path

from tadp_cli.config.default_models import TINY
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.launchers import first_process
from tadp_cli.console.reporter import Report
from tadp_heads.data.scenes.scene import SCENE_DOMAINS
from tadp_heads.data.scenes.write import LAYOUTS, split_file, write_scenes

FOLDER = Path("data/scenes")
SOURCE = "photo"
"""The domain of the source."""
SEEDS = {"train": 100, "val": 101, "test": 102, "domain": 103}
"""Seeds of the Scenes of each purpose: no scene is in two of them, and none was seen in pre-training."""
IMAGES = {"train": 350, "val": 100, "test": 100, "domain": 10}
"""Scenes of each split."""
_OFTEN = 0.2
"""Seconds between two checks for what the first process writes."""


def scenes_of(task: str, domain: str, splits: dict[str, str], report: Report = lambda *_: None) -> Path:
    """The folder of Scenes in a domain, data/scenes/TASK/DOMAIN, with these {split: purpose}; a split stays unchanged.

    Of several processes the first one writes, and the others wait.
    """
    folder = FOLDER / task / domain
    for split, purpose in splits.items():
        file = split_file(folder, task, split)
        if first_process() and not file.is_file():
            count = IMAGES[purpose]
            write_scenes(folder, task=task, domain=domain, split=split, count=count, seed=SEEDS[purpose])
            report(f"write {folder}/{file.name}", count, count)
        while not file.is_file():
            time.sleep(_OFTEN)
    return folder


def source_and_target(source: str, target: str, task: str, domain: str, report: Report) -> tuple[str, str]:
    """Those given, or Scenes of two domains where neither is; the target's split train shows what is learned from."""
    if not source and not target and domain in SCENE_DOMAINS and task in LAYOUTS:
        made = scenes_of(task, SOURCE, {"train": "train", "val": "val"}, report)
        return str(made), str(scenes_of(task, domain, {"train": "domain", "test": "test"}, report))
    for given, option in ((source, "--source"), (target, "--target")):
        if not given:
            raise ValueError(f"{option} is missing: name a folder; without both, Scenes in {', '.join(SCENE_DOMAINS)}")
    return source, target


def with_scenes(recipe: Recipe, report: Report = lambda *_: None) -> Recipe:
    """A recipe of the tiny models that names no data, with Scenes: photos, and for a test those in its domain."""
    data, test, domain = recipe.data, recipe.test, recipe.prompt.domain
    if data.folder or recipe.backbone.source not in ("", TINY) or recipe.task not in LAYOUTS:
        return recipe
    source = scenes_of(recipe.task, SOURCE, {data.train: "train", data.val: "val"}, report)
    changes = {"data.folder": str(source)}
    if domain in SCENE_DOMAINS and not test.folder:
        changes["test.folder"] = str(scenes_of(recipe.task, domain, {test.split: "test"}, report))
    return recipe.replace(**changes)
