"""From the rows of results.json to tables: one row per prompt, one column per test set, mean and spread per cell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tadp_heads import get_task
from tadp_heads.tasks import MainMetric

SINGLE_DOMAIN = "Single-domain: trained and tested without a modifier"
CROSS_DOMAIN = "Cross-domain: captions with a modifier for the target's domain (null: none)"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The main metric of one prompt on one test set, in its unit."""

    mean: float
    spread: float | None
    """Min-max/2 over runs; None for one run."""
    runs: int

    def show(self, metric: MainMetric) -> str:
        if self.spread is None or math.isnan(self.mean):
            return metric.show(self.mean)
        return f"{metric.show(self.mean)} ± {metric.show(self.spread)}"


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """The metrics of one prompt with one modifier."""

    task: str
    prompt: str
    modifier: str | None
    """None where modifiers are no question: the single-domain part."""
    cells: dict[str, Cell]
    """{test set: metric}."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows that are compared with each other."""

    title: str
    metric: MainMetric
    rows: tuple[TableRow, ...]

    def is_best(self, row: TableRow, test: str) -> bool:
        """No row of the group has a better metric on `test` as shown; the only row is no best."""
        shown = [self.metric.show(r.cells[test].mean) for r in self.rows if test in r.cells]
        values = [float(text) for text in shown if text != self.metric.show(math.nan)]
        if test not in row.cells or len(values) < 2:
            return False
        best = max(values) if self.metric.higher_is_better else min(values)
        return self.metric.show(row.cells[test].mean) == self.metric.show(best)


@dataclass(frozen=True, kw_only=True)
class TaskTable:
    """All metrics of a task."""

    task: str
    metric: MainMetric
    tests: tuple[str, ...]
    groups: tuple[Group, ...]

    @property
    def spread_note(self) -> str:
        """How the cells are to be read."""
        runs = sorted({cell.runs for group in self.groups for row in group.rows for cell in row.cells.values()})
        if runs == [1]:
            return "One seed; no spread measured."
        counts = " or ".join(map(str, runs))
        return f"Mean ± min-max/2 over {counts} runs (seeds; with a modifier, also the domain it was made for)."


def group_rows(results: dict[str, Any]) -> list[TableRow]:
    """One row per (task, prompt, modifier) in the order first seen; cells by test set in the order first seen."""
    values: dict[tuple[str, str, str | None], dict[str, list[float]]] = {}
    for row in results["rows"]:
        metric = get_task(row["task"]).main_metric
        tests = values.setdefault((row["task"], row["prompt"], row["modifier"]), {})
        tests.setdefault(row["test"], []).append(metric.scale * row["metrics"][metric.key])
    return [
        TableRow(task=task, prompt=prompt, modifier=modifier, cells={t: _cell(v) for t, v in tests.items()})
        for (task, prompt, modifier), tests in values.items()
    ]


def class_metric(task: str) -> str:
    """The name of the task's metric of one class."""
    return {"segmentation": "IoU", "detection": "AP"}.get(task, get_task(task).main_metric.name)


def task_tables(rows: Sequence[TableRow]) -> list[TaskTable]:
    """One table per task; in it the single-domain rows come first, then the cross-domain rows."""
    tables = []
    for task in dict.fromkeys(row.task for row in rows):
        metric = get_task(task).main_metric
        own = [row for row in rows if row.task == task]
        parts = {
            SINGLE_DOMAIN: tuple(row for row in own if row.modifier is None),
            CROSS_DOMAIN: tuple(row for row in own if row.modifier is not None),
        }
        groups = tuple(Group(title=title, metric=metric, rows=part) for title, part in parts.items() if part)
        tests = tuple(dict.fromkeys(test for row in own for test in row.cells))
        tables.append(TaskTable(task=task, metric=metric, tests=tests, groups=groups))
    return tables


def _cell(values: Sequence[float]) -> Cell:
    spread = (max(values) - min(values)) / 2 if len(values) > 1 else None
    return Cell(mean=sum(values) / len(values), spread=spread, runs=len(values))
