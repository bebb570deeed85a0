"""The JSON files of runs, read back; a file that was edited, cut or is another's is an error that names it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadp_cli.config.paths import absolute
from tadp_cli.config.recipe import Recipe
from tadp_heads.data.errors import DataError
from tadp_heads.pretrained import read_json

if TYPE_CHECKING:
    from tadp_heads.training import Evaluation


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """The object in a JSON file, which has these keys."""
    value = read_json(path)
    missing = [key for key in keys if key not in value] if isinstance(value, dict) else []
    if not isinstance(value, dict) or missing:
        raise DataError(
            path,
            found=f"no {missing[0]!r}" if missing else f"a {type(value).__name__}",
            expected="the object that tadp wrote",
            fix="restore the file, or create the folder again",
        )
    return value


def read_evaluations(path: Path) -> list[dict[str, Any]]:
    """Those of a results.json: {"data": folder, "split": name, "metrics": {name: value}, ...} each."""
    entries = read_object(path, "evaluations")["evaluations"]
    if not isinstance(entries, list) or not all(map(_is_evaluation, entries)):
        raise DataError(
            path,
            found=f"evaluations {str(entries)[:80]!r}",
            expected="a list of data, split and metrics, which are numbers",
            fix="restore the file, or evaluate the run again",
        )
    return entries


def _is_evaluation(entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("metrics"), dict):
        return False
    numbers = all(type(value) in (int, float) for value in entry["metrics"].values())
    classes = entry.get("per_class", {})
    if not isinstance(classes, dict) or not all(v is None or type(v) in (int, float) for v in classes.values()):
        return False
    return numbers and all(isinstance(entry.get(key), str) for key in ("data", "split"))


def measured(evaluation: "Evaluation") -> dict[str, Any]:
    """The metrics in an entry of results.json, with those of each class where the task has them.

    "per_class" is {class: IoU or AP}, null where neither annotated nor predicted.
    """
    per_class = evaluation.per_class
    return {"metrics": evaluation.metrics, **({"per_class": per_class} if per_class else {})}


def results_of(recipe: Recipe, measured: dict[str, Any]) -> dict[str, Any]:
    """results.json after the first evaluation; `measured`: the entry's "metrics" and "per_class"."""
    return {
        "task": recipe.task,
        "prompt": recipe.prompt.kind,
        "modifier": recipe.prompt.modifier,
        "seed": recipe.train.seed,
        "evaluations": [{"data": recipe.data.folder, "split": recipe.data.val, **measured}],
    }


def place_of(entry: dict[str, Any]) -> tuple[str, ...]:
    """Data and conditions of an evaluation: of two evaluations with the same ones, the later one counts.

    Data by its absolute path, split, protocol, where the prompts were made otherwise than in training their modifier
    and domain, and the cleaner of the captions where they were cleaned.
    """
    keys = ("protocol", "modifier", "domain", "cleaner")
    return (absolute(entry["data"]), entry["split"], *(entry.get(key, "") for key in keys))
