"""Writes docs/results/*.md from the results files next to them, and README's table: `python3 tasks.py results`.

No number on such a page is written by hand. A results file holds, for each part of its page, what was measured, with
the command, the commit and the machine; `benchmarks/scenes.py`, `tables.py`, `analyses.py`, `conformal.py` and
`labelling.py` write them.
"""

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from adaptation_page import self_training, training_free
from analyses_page import analyses
from conformal_page import conformal
from deletion_page import deletion
from engines_page import engines
from labelling_page import labelling
from scenes_page import readme, scenes
from tables_page import tables

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "results"
NOT_GENERATED = ("backbones", "removed")
"""Pages written by hand: published numbers of others, and results of code that was removed."""
PAGES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "scenes": scenes,
    "tables": partial(tables, "The paper's tables at small scale", "tables"),
    "class-maps": partial(tables, "Maps per class", "class-maps"),
    "presence": partial(tables, "Captions that know the classes", "presence"),
    "unseen": partial(tables, "Domains that were not trained on", "unseen"),
    "analyses": analyses,
    "conformal": conformal,
    "deletion-test": deletion,
    "engines": engines,
    "labelling": labelling,
    "training-free": training_free,
    "self-training": self_training,
}
BEGIN, END = "<!-- from docs/results/scenes.json, by `python3 tasks.py results` -->", "<!-- end -->"
"""Around what README shows of the results."""


def main() -> int:
    for name, page in PAGES.items():
        source = FOLDER / f"{name}.json"
        if source.is_file():
            (FOLDER / f"{name}.md").write_text(page(json.loads(source.read_text())))
            print(FOLDER / f"{name}.md")
    (ROOT / "README.md").write_text(with_results((ROOT / "README.md").read_text()))
    return 0


def with_results(text: str) -> str:
    """README's text with the results of today's files."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    results = json.loads((FOLDER / "scenes.json").read_text())
    return f"{before}{BEGIN}\n\n{readme(results)}\n\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
