"""A run's folder: its recipe, its lines of metrics, its results, its state."""

import json
import os
from pathlib import Path
from typing import Any

from tadp_cli.recipes.recipe import Recipe, load_recipe

RECIPE_FILE = "config.toml"
METRICS_FILE = "metrics.jsonl"
RESULTS_FILE = "results.json"


def check_run(folder: Path, recipe: Recipe, resume: bool) -> None:
    """That a run may begin in the folder, or the one in it go on with this recipe."""
    path = folder / RECIPE_FILE
    if not resume:
        if path.is_file():
            raise ValueError(f"{folder} holds a run already; add --resume to go on with it, or name another --out")
        return
    if not path.is_file():
        raise ValueError(f"{folder} holds no run to resume ({RECIPE_FILE} is missing); leave --resume out")
    if load_recipe(path) != recipe:
        raise ValueError(f"{folder} was begun with other settings ({path}); resume with those, or name another --out")


def begin_run(folder: Path, recipe: Recipe) -> None:
    """Claim the folder; called when everything that the recipe names has been found."""
    write_text(folder / RECIPE_FILE, recipe.to_toml())


def cut_metrics(path: Path, steps: int) -> None:
    """Drop the lines of steps after the state that a run goes on from: they are made again."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        write_text(path, "".join(line for line in lines if json.loads(line)["step"] <= steps))


def read_run(folder: Path) -> Recipe:
    """The recipe of a finished run."""
    if not (folder / RECIPE_FILE).is_file():
        raise ValueError(f"{folder} is no run: {RECIPE_FILE} is missing; `tadp train` makes runs")
    if not (folder / RESULTS_FILE).is_file():
        raise ValueError(f"{folder} is not finished; go on it with `tadp train ... --resume --out {folder}`")
    return load_recipe(folder / RECIPE_FILE)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Atomic: the file is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
