"""The best model of a run so far, kept as a run of its own."""

import shutil
from pathlib import Path

from tadp_cli.config.recipe import Recipe
from tadp_cli.prompts.tagging.store import FOLDER as PRESENCE_FOLDER
from tadp_cli.run.run import NAMES_FILE, Run
from tadp_heads import PerceptionModel
from tadp_heads.atomic_files import replacing_folder

BEST_FOLDER = "best"


class BestModel:
    """Writes the model to best/ whenever no earlier evaluation had as good a main metric."""

    def __init__(self, recipe: Recipe, out: Path, model: PerceptionModel, bundle: bool):
        self.recipe, self.out, self.model, self.bundle = recipe, out, model, bundle

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        """After an evaluation of the model as it is now."""
        folder = self.out / BEST_FOLDER
        main = self.model.task.main_metric
        if Run(folder).finished:
            best = Run(folder).evaluations[0]["metrics"][main.key]
            if not (metrics[main.key] > best if main.higher_is_better else metrics[main.key] < best):
                return
        with replacing_folder(folder) as partial:
            self.model.save_pretrained(partial, bundle=self.bundle)
            if self.recipe.needs_presence:
                shutil.copytree(self.out / PRESENCE_FOLDER, partial / PRESENCE_FOLDER)
            if (self.out / NAMES_FILE).is_file():
                shutil.copyfile(self.out / NAMES_FILE, partial / NAMES_FILE)
            Run(partial).begin(self.recipe)
            Run(partial).finish(self.recipe, {"metrics": metrics}, step=step)
