"""The scores of finished runs side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tadp_cli.workflows.runs import RESULTS_FILE, read_run


def rows_of_runs(runs: Sequence[Path]) -> list[dict[str, Any]]:
    """One row an evaluation, in the form of the demo's results.json; a split scored again counts with its last score.

    Runs that differ in nothing but the seed share a line of the table. What else their recipes differ in is not seen.
    """
    rows = []
    for run in runs:
        recipe = read_run(run)
        scores = {
            _test_name(entry): entry["metrics"] for entry in json.loads((run / RESULTS_FILE).read_text())["evaluations"]
        }
        modifier = None if recipe.prompt.modifier == "null" else recipe.prompt.modifier
        rows += [
            {
                "task": recipe.task,
                "prompt": recipe.prompt.kind,
                "modifier": modifier,
                "test": test,
                "seed": recipe.train.seed,
                "metrics": metrics,
            }
            for test, metrics in scores.items()
        ]
    return rows


def _test_name(entry: dict[str, Any]) -> str:
    """ "watercolor/test", with the protocol where one was named."""
    name = f"{Path(entry['data']).name}/{entry['split']}"
    return f"{name} ({entry['protocol']})" if "protocol" in entry else name
