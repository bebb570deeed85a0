"""The metrics of finished runs side by side."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tadp_captioning.cleaning.factory import RULES
from tadp_cli.config.recipe import Recipe
from tadp_cli.run.records import place_of
from tadp_cli.run.run import Run
from tadp_heads.data.registry import split_name


def rows_of_runs(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """One row per evaluation, in the format of the demo's results.json; of two evaluations of a split, the last one.

    Runs that differ in nothing but the seed share a line of the table; where prompt and modifier are the same and
    something else differs, a line has its run's name.
    """
    recipes = {run: Run(run).finished_recipe() for run in runs}
    entries = {run: Run(run).evaluations for run in runs}
    names = _test_names({place_of(entry)[0]: entry["data"] for found in entries.values() for entry in found})
    rows = []
    for run, recipe in recipes.items():
        latest = {_place(entry): entry for entry in entries[run]}
        rows += [
            {
                "task": recipe.task,
                "prompt": recipe.prompt.kind if _alone(recipe, recipes.values()) else f"{recipe.prompt.kind}: {run}",
                "modifier": None if recipe.prompt.modifier == "null" else recipe.prompt.modifier,
                "test": "/".join((names[data], split)) + how,
                "seed": recipe.train.seed,
                "metrics": entry["metrics"],
                **{key: entry[key] for key in ("cleaner", "per_class") if key in entry},
            }
            for (data, split, how), entry in latest.items()
        ]
    return rows


def _place(entry: dict[str, Any]) -> tuple[str, str, str]:
    """Data, split, and in brackets what distinguishes evaluations on them; of cleaners, all but the rules."""
    data, split, protocol, modifier, domain, cleaner = place_of(entry)
    by = f"captions cleaned by {cleaner}" if cleaner not in ("", RULES) else ""
    return data, split, "".join(f" ({how})" for how in (protocol, modifier, domain, by) if how)


def _test_names(data: dict[str, str]) -> dict[str, str]:
    """{absolute path: a short name}, of {absolute path: as it was given}.

    The folder's last part, with the data set's name before it, where that is enough.
    """
    short = {}
    for where, given in data.items():
        name, folder = split_name(given)
        short[where] = f"{name}:{Path(folder).name}" if name else Path(folder).name
    names = list(short.values())
    return {where: name if names.count(name) == 1 else data[where] for where, name in short.items()}


def _alone(recipe: Recipe, recipes: Iterable[Recipe]) -> bool:
    """Whether all runs with this prompt and modifier have this recipe, seeds aside."""
    alike = [
        other
        for other in recipes
        if (other.task, other.prompt.kind, other.prompt.modifier)
        == (recipe.task, recipe.prompt.kind, recipe.prompt.modifier)
    ]
    return all(other.replace(**{"train.seed": recipe.train.seed}) == recipe for other in alike)
