"""A run: the folder of a recipe's training, with its model and its results."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tadp_cli.config.recipe import Recipe
from tadp_cli.run.folder import RECIPE_FILE, RESULTS_FILE, read_run
from tadp_cli.run.records import read_evaluations, read_object

if TYPE_CHECKING:
    from tadp_heads import PerceptionModel


class Run:
    """Reads a run's files when they are asked for; `Run("runs/first")`."""

    def __init__(self, folder: Self | str | Path):
        self.folder = folder.folder if isinstance(folder, Run) else Path(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def begun(self) -> bool:
        """Whether its training has begun."""
        return (self.folder / RECIPE_FILE).is_file()

    @property
    def finished(self) -> bool:
        """Whether its training has ended and was evaluated."""
        return (self.folder / RESULTS_FILE).is_file()

    @property
    def recipe(self) -> Recipe:
        """The recipe of a finished run."""
        return read_run(self.folder)

    @property
    def results(self) -> dict[str, Any]:
        """What its results.json holds."""
        return read_object(self.folder / RESULTS_FILE)

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """{"data": folder, "split": name, "metrics": {name: value}, ...} each, that of its validation split first."""
        return read_evaluations(self.folder / RESULTS_FILE)

    def load_model(self, device: str = "cpu") -> "PerceptionModel":
        """Its model."""
        from tadp_heads import PerceptionModel

        return PerceptionModel.from_pretrained(self.folder).to(device)
