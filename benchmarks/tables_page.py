"""Pages of `benchmarks/tables.py`: tables of `tadp reproduce`, next to the paper's numbers where it has some."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from page_layout import header, made, shown, spread_note, table

HEAD = (
    "At small scale: Scenes and the tiny models, heads on a frozen backbone. The numbers are of another task and a "
    "model a thousand times smaller than the paper's: what can be compared is the order of rows within a table."
)


def tables(title: str, name: str, results: Mapping[str, Any]) -> str:
    """The page NAME.md of {table: what was measured}."""
    return "\n\n".join([header(title, name, HEAD), *map(_block, results.values())]) + "\n"


def _block(part: Mapping[str, Any]) -> str:
    settings = part["settings"]
    text = (
        f"{settings['train_images']} images to train on, {settings['scored_images']} to evaluate on per domain. "
        f"{spread_note(part['seeds'])}"
    )
    lines = [f"## {part['title']}", text, _table(part["rows"]), *_order(part["rows"]), made(part)]
    return "\n\n".join(lines)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    measured = list(dict.fromkeys(metric for row in rows for metric in row["metrics"]))
    quoted = [metric for metric in measured if any(metric in row["target"] for row in rows)]
    head = ["row", *(f"paper, {metric}" for metric in quoted), *measured]
    cells = [
        [
            row["label"],
            *(shown(metric, [row["target"][metric]]) if metric in row["target"] else "" for metric in quoted),
            *(shown(metric, row["metrics"][metric]) if metric in row["metrics"] else "" for metric in measured),
        ]
        for row in rows
    ]
    return table(head, cells)


def _order(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many pairs of rows of one data set have the paper's order, beyond the spread and within."""
    metric = next(iter(rows[0]["metrics"]))
    known = [row for row in rows if metric in row["target"] and metric in row["metrics"]]
    pairs = [
        (a, b)
        for a, b in itertools.combinations(known, 2)
        if a["target"] != b["target"] and _data_set(a) == _data_set(b)
    ]
    if not pairs:
        return []
    kinds = [_kind(a, b, metric) for a, b in pairs]
    return [
        f"Of {len(pairs)} pairs of rows, {kinds.count('same')} have the paper's order in {metric} beyond the spread, "
        f"{kinds.count('other')} the opposite one, {kinds.count('within')} lie within it (the larger of the two "
        "standard deviations)."
    ]


def _data_set(row: Mapping[str, Any]) -> str:
    """What the row is evaluated on, where the table has several data sets."""
    before, colon, _ = row["label"].partition(": ")
    return before if colon else ""


def _kind(a: Mapping[str, Any], b: Mapping[str, Any], metric: str) -> str:
    ours = [row["metrics"][metric] for row in (a, b)]
    difference = statistics.mean(ours[0]) - statistics.mean(ours[1])
    if abs(difference) <= max(statistics.stdev(values) if len(values) > 1 else 0.0 for values in ours):
        return "within"
    return "same" if difference * (a["target"][metric] - b["target"][metric]) > 0 else "other"
