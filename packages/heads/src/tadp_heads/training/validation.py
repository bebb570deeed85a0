"""Scores during a run, and its best model so far."""

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tadp_cli._io import append, replacing_folder, write_json, write_text
from tadp_cli.config.recipe import Recipe
from tadp_cli.prompts.tagging.store import FOLDER as PRESENCE_FOLDER
from tadp_cli.run.folder import METRICS_FILE, NAMES_FILE, RECIPE_FILE, RESULTS_FILE, results_of
from tadp_cli.run.records import read_evaluations, read_steps
from tadp_heads import PerceptionModel

BEST_FOLDER = "best"


class Validation:
    """Scores every `train.eval_every` steps; the best model so far is a run of its own, in best/."""

    def __init__(self, recipe: Recipe, out: Path, model: PerceptionModel, score: Callable[[], dict[str, float]]):
        self.recipe, self.out, self.model, self.score = recipe, out, model, score

    def __call__(self, step: int, as_saved: Callable[[], AbstractContextManager], main: bool) -> None:
        """After a step; the last one is scored when the run is over."""
        every = self.recipe.train.eval_every
        if not every or step % every or step == self.recipe.train.steps or step in self._scored():
            return
        with as_saved():
            metrics = self.score()
            if main:
                self.keep_if_best(step, metrics)
        if main:
            append(self.out / METRICS_FILE, json.dumps({"step": step, "val": metrics}) + "\n")

    def keep_if_best(self, step: int, metrics: dict[str, float]) -> None:
        """Write the model as it is now to best/ if no step scored as well."""
        folder = self.out / BEST_FOLDER
        main = self.model.task.main_metric
        if (folder / RESULTS_FILE).is_file():
            best = read_evaluations(folder / RESULTS_FILE)[0]["metrics"][main.key]
            if not (metrics[main.key] > best if main.higher_is_better else metrics[main.key] < best):
                return
        with replacing_folder(folder) as partial:
            self.model.save_pretrained(partial)
            if self.recipe.needs_presence:
                shutil.copytree(self.out / PRESENCE_FOLDER, partial / PRESENCE_FOLDER)
            if (self.out / NAMES_FILE).is_file():
                shutil.copyfile(self.out / NAMES_FILE, partial / NAMES_FILE)
            write_text(partial / RECIPE_FILE, self.recipe.to_toml())
            write_json(partial / RESULTS_FILE, {**results_of(self.recipe, metrics), "step": step})

    def _scored(self) -> set[int]:
        return {row["step"] for row in read_steps(self.out / METRICS_FILE) if "val" in row}
