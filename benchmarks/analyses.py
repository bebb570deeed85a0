"""The paper's analyses at small scale, for docs/results/analyses.md.

    python benchmarks/analyses.py [attention recall ...] [--images 150] [--out runs/analyses]

Each analysis replaces its part of docs/results/analyses.json; `python3 tasks.py results` writes the page.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

import torch
from measuring import machine, write_json

from tadp_cli.console.progress import bars
from tadp_cli.experiments.analyses import ANALYSES
from tadp_cli.experiments.analyses.setting import Setting
from tadp_cli.experiments.analyze import run_analysis

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "analyses.json"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python benchmarks/analyses.py", description=__doc__)
    parser.add_argument("names", nargs="*", default=[*ANALYSES], help=f"of {', '.join(ANALYSES)}; all by default")
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--out", type=Path, default=Path("runs/analyses"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    given = shlex.join(arguments if arguments is not None else sys.argv[1:])
    for name in options.names:
        with bars() as report:
            found = run_analysis(name, Setting(out=options.out, images=options.images, report=report))
        how = {"command": f"python benchmarks/analyses.py {given}".rstrip(), "machine": machine(torch.device("cpu"))}
        shown = {"title": ANALYSES[name].title, "columns": found.columns, "rows": found.rows, "remark": found.remark}
        known = json.loads(options.results.read_text()) if options.results.is_file() else {}
        known[name] = {**how, **shown}
        write_json(options.results, {key: known[key] for key in ANALYSES if key in known})
        print(options.results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
