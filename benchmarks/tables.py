"""Tables of `tadp reproduce` at small scale, for the pages of docs/results.

    python benchmarks/tables.py table-1 table-4 [--seeds 3] [--row NAME ...] [--out runs/tables]

Each table replaces its part in the results file of its page, with --row those rows of it that were measured alike;
`python3 tasks.py results` writes the page. Runs stay in `--out` and are not made again.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measuring import machine, write_json

from tadp_cli.config.paper_tables import Table, load_table
from tadp_cli.console.progress import bars
from tadp_cli.experiments.reproduce.plan import Bench
from tadp_cli.experiments.reproduce.runner import RowResult, reproduce

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PAGES = {
    "tables": ("table-1", "table-3", "table-4", "table-5", "table-s1", "table-s2"),
    "class-maps": ("class-maps-segmentation", "class-maps-detection", "class-maps-depth"),
    "presence": ("presence",),
    "unseen": ("unseen",),
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python benchmarks/tables.py", description=__doc__)
    parser.add_argument("tables", nargs="+", choices=[name for names in PAGES.values() for name in names])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--row", action="append", default=[], help="a row of the tables, several times; none: all")
    parser.add_argument("--train-images", type=int, default=500)
    parser.add_argument("--scored-images", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("runs/tables"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    given = shlex.join(arguments if arguments is not None else sys.argv[1:])
    images = {"train_images": options.train_images, "scored_images": options.scored_images}
    for name in options.tables:
        table = load_table(name)
        with bars() as report:
            bench = Bench(out=options.out / name, **images)
            done = reproduce(table, bench, rows=options.row, seeds=options.seeds, report=report)
        how = {"command": f"python benchmarks/tables.py {given}", "machine": machine(torch.device("cpu"))}
        part = {**how, "title": table.title, "seeds": options.seeds, "settings": images, "rows": rows(table, done)}
        page = next(page for page, names in PAGES.items() if name in names)
        file = options.results / f"{page}.json"
        known = json.loads(file.read_text()) if file.is_file() else {}
        known[name] = joined(known.get(name, part), part, table) if options.row else part
        write_json(file, {key: known[key] for key in PAGES[page] if key in known})
        print(file)
    return 0


def joined(known: dict[str, Any], part: dict[str, Any], table: Table) -> dict[str, Any]:
    """The part with the rows of a known one that was measured in the same setting, and the commands of both."""
    if any(known[key] != part[key] for key in ("title", "seeds", "settings")):
        return part
    by_name = {row["row"]: row for row in (*known["rows"], *part["rows"])}
    commands = dict.fromkeys((*known["command"].split("; "), part["command"]))
    ordered = [by_name[row.name] for row in table.rows if row.name in by_name]
    return {**part, "command": "; ".join(commands), "rows": ordered}


def rows(table: Table, done: Sequence[RowResult]) -> list[dict[str, Any]]:
    """Each row's label, the paper's numbers and the metrics of all seeds."""
    found = []
    for row in table.rows:
        own = [one.metrics for one in done if one.row == row.name]
        metrics = {metric: [values[metric] for values in own] for metric in (own[0] if own else {})}
        if own:
            found.append({"row": row.name, "label": row.label, "target": row.target, "metrics": metrics})
    return found


if __name__ == "__main__":
    sys.exit(main())
