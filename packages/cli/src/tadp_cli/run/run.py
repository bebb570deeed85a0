"""A run: the folder of a recipe's training, with its model and its results."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate import PartialState

from tadp_cli.config.paths import absolute
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.run.lock import run_lock
from tadp_cli.run.records import place_of, read_evaluations, read_object, results_of
from tadp_cli.run.resume import changed_settings, check_version
from tadp_heads.atomic_files import replacing, write_json, write_text
from tadp_heads.data import SampleDataset

if TYPE_CHECKING:
    from tadp_heads import PerceptionModel

RECIPE_FILE = "config.toml"
RESULTS_FILE = "results.json"
NAMES_FILE = "prompt_names.json"
"""{class: its name in the run's prompts, "" where they leave it out}."""


class Run:
    """Reads the files of a run when they are asked for, and writes them: `Run("runs/first").recipe`."""

    def __init__(self, folder: "Run | str | Path"):
        self.folder: Path = folder.folder if isinstance(folder, Run) else Path(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def begun(self) -> bool:
        """Whether its training has begun."""
        return (self.folder / RECIPE_FILE).is_file()

    @property
    def finished(self) -> bool:
        """Whether its training has ended and its model was evaluated."""
        return (self.folder / RESULTS_FILE).is_file()

    @property
    def recipe(self) -> Recipe:
        """Its recipe with all settings; ValueError where the folder holds no run."""
        if not self.begun:
            raise ValueError(f"{self.folder} is no run: {RECIPE_FILE} is missing; `tadp train` makes runs")
        return load_recipe(self.folder / RECIPE_FILE)

    @property
    def results(self) -> dict[str, Any]:
        """What its results.json holds."""
        return read_object(self.folder / RESULTS_FILE)

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """{"data": folder, "split": name, "metrics": {name: value}, ...} each, that of its validation split first."""
        return read_evaluations(self.folder / RESULTS_FILE)

    def finished_recipe(self) -> Recipe:
        """Its recipe; ValueError unless it is finished."""
        recipe = self.recipe
        if not self.finished:
            command = f"`tadp train ... --resume --out {self.folder}`"
            raise ValueError(f"{self.folder} is not finished; resume it with {command}")
        return recipe

    def metrics_at(self, place: tuple[str, ...], cleaner: str) -> dict[str, float] | None:
        """Metrics at `place`, which lacks the cleaner, of captions by this cleaner or none; None: not there."""
        for entry in self.evaluations:
            *there, by = place_of(entry)
            if tuple(there) == place and by in ("", cleaner):
                return entry["metrics"]
        return None

    def load_model(self, device: str = "cpu") -> "PerceptionModel":
        """Its model."""
        from tadp_heads import PerceptionModel

        return PerceptionModel.from_pretrained(self.folder).to(device)

    def lock(self) -> AbstractContextManager[bool]:
        """`run_lock` of its folder."""
        return run_lock(self.folder)

    def check(self, recipe: Recipe, resume: bool, killed: bool = False) -> None:
        """Raise unless a run may begin in the folder, or the one in it resume with this recipe.

        An unfinished run resumes without being asked to, and so does the command of a process that was `killed` here.
        """
        if not self.begun:
            if resume and not killed:
                raise ValueError(f"{self.folder} holds no run to resume ({RECIPE_FILE} is missing); leave --resume out")
            return
        if not resume and not killed and self._is_evaluated(recipe):
            raise ValueError(f"{self.folder} holds a run already; add --resume to resume it, or name another --out")
        begun = self.recipe
        check_version(self.folder, begun, recipe)
        changed = changed_settings(begun, recipe)
        if changed:
            raise ValueError(
                f"{self.folder} was begun with other settings: {'; '.join(changed)}; resume with those, or name "
                "another --out"
            )

    def begin(self, recipe: Recipe) -> None:
        """Claim the folder; called when everything that the recipe names has been found."""
        write_text(self.folder / RECIPE_FILE, recipe.to_toml())

    def finish(self, recipe: Recipe, measured: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Write results.json with what was `measured` on the validation split; returns what it holds."""
        results = results_of(recipe, measured) | more
        write_json(self.folder / RESULTS_FILE, results)
        return results

    def add_evaluation(self, entry: dict[str, Any]) -> None:
        """Put an evaluation into results.json, in place of the one of the same data and prompts.

        A process that evaluates the same run at the same time waits, and adds its own.
        """
        state, file = PartialState(), self.folder / RESULTS_FILE
        if state.is_main_process:
            with replacing(file) as partial:
                results = read_object(file, "evaluations")
                others = [e for e in results["evaluations"] if place_of(e) != place_of(entry)]
                results["evaluations"] = [*others, entry]
                partial.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        state.wait_for_everyone()

    def save_prompt_names(self, classes: Sequence[str], names: Sequence[str]) -> None:
        """Keep each class's name in the run's prompts, by which they are made again when it resumes or is evaluated."""
        if classes:
            write_json(self.folder / NAMES_FILE, dict(zip(classes, names, strict=True)))

    def prompt_names(self, classes: Sequence[str]) -> dict[str, str]:
        """{class: its name in the run's prompts} of a run that was begun; `classes` are the run's.

        A run without the file is from before there was one: it named classes as their labels do, and left out
        "background" in this variant alone.
        """
        path = self.folder / NAMES_FILE
        if path.is_file():
            return read_object(path, *classes)
        return {name: "" if name == "background" else name for name in classes}

    def _is_evaluated(self, recipe: Recipe) -> bool:
        """Whether it is trained, and evaluated on the recipe's test too where it names one."""
        if not self.finished:
            return False
        test, places = recipe.test, [place_of(entry)[:2] for entry in self.evaluations]
        return not test.folder or (absolute(test.folder), test.split) in places


def use_prompt_names(known: Mapping[str, str], *datasets: SampleDataset) -> None:
    """Name the classes of data sets as a run does that knows them."""
    for dataset in datasets:
        names = zip(dataset.classes, dataset.prompt_names, strict=True)
        dataset.prompt_names = tuple(known.get(label, name) for label, name in names)
