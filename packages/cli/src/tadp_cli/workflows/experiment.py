"""A whole experiment: a recipe's training, and the scores on its validation split and on its target domain."""

import json
from pathlib import Path
from typing import Any

from tadp_cli.recipes.recipe import Recipe
from tadp_cli.workflows.reporting import Report
from tadp_cli.workflows.runs import RESULTS_FILE, place_of
from tadp_cli.workflows.scoring import score_run
from tadp_cli.workflows.training import train


def run_experiment(
    recipe: Recipe, out: Path, *, device: str = "cpu", resume: bool = False, report: Report = lambda *_: None
) -> dict[str, Any]:
    """`train`, then the score on `recipe.test` where it names a data set; what results.json holds."""
    train(recipe, out, device=device, resume=resume, report=report)
    if recipe.test.folder:
        score_once(out, recipe, "", device=device, report=report)
    return json.loads((out / RESULTS_FILE).read_text())


def score_once(
    run: Path, recipe: Recipe, protocol: str, *, device: str = "cpu", report: Report = lambda *_: None
) -> dict[str, float]:
    """Metrics of a trained run by a protocol, "" for the recipe's, on the target where the recipe has one.

    Read from results.json where they are there already.
    """
    test = recipe.test
    where = (test.folder, test.split) if test.folder else (recipe.data.folder, recipe.data.val)
    for entry in json.loads((run / RESULTS_FILE).read_text())["evaluations"]:
        if place_of(entry) == (*where, protocol, "", ""):
            return entry["metrics"]
    written = bool(test.folder and recipe.needs_captions and not test.captions)
    entry = score_run(
        run,
        folder=where[0],
        split=where[1],
        captions=Path(test.captions) if test.folder and test.captions else None,
        protocol=protocol,
        domain=recipe.prompt.domain if written else "",
        device=device,
        report=report,
    )
    return entry["metrics"]
