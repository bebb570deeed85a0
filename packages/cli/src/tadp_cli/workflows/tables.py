"""The scores of results.json as tables in a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tadp_cli.report.grouping import Group, TaskTable, group_rows, task_tables


def show_rows(console: Console, results: dict[str, Any]) -> None:
    """A table a group of comparable rows, the best of each column in bold."""
    for table in task_tables(group_rows(results)):
        console.print(Text(f"\n{table.task}: {table.metric.heading}", style="bold"))
        for group in table.groups:
            console.print(Text(group.title))
            console.print(_drawn(table, group))
        console.print(Text(f"{table.spread_note} Bold: the best of a column within its group, as printed."))


def _drawn(table: TaskTable, group: Group) -> Table:
    drawn = Table("prompt", "modifier")
    for test in table.tests:
        drawn.add_column(Text(test), justify="right")
    for row in group.rows:
        cells = [
            Text(row.cells[test].show(table.metric), style="bold" if group.is_best(row, test) else "")
            if test in row.cells
            else Text("")
            for test in table.tests
        ]
        drawn.add_row(Text(row.prompt), Text(row.modifier or ""), *cells)
    return drawn
