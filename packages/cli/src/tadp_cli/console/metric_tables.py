"""Metrics as tables in a terminal."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tadp_cli.config.paper_tables import DomainTest
from tadp_cli.config.paper_tables import Table as PaperTable
from tadp_cli.report.grouping import Group, TaskTable, class_metric, group_rows, task_tables

if TYPE_CHECKING:
    from tadp_cli.experiments.reproduce.runner import RowResult


def show_rows(console: Console, results: dict[str, Any]) -> None:
    """One table per group of comparable rows, the best of each column in bold."""
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


def show_evaluations(console: Console, task: str, evaluations: Mapping[str, Mapping[str, Any]]) -> None:
    """One column per evaluation, {data and split: entry of results.json}; rows are metrics, then classes.

    Of one evaluation the classes alone.
    """
    classes = dict.fromkeys(name for entry in evaluations.values() for name in entry.get("per_class", {}))
    if len(evaluations) < 2 and not classes:
        return
    metrics = dict.fromkeys(n for e in evaluations.values() for n in e["metrics"]) if len(evaluations) > 1 else ()

    def draw(headings: Mapping[str, str]) -> Table:
        drawn = Table(class_metric(task) if classes else "metric")
        for heading in headings:
            drawn.add_column(Text(heading), justify="right")
        for key, names in (("metrics", metrics), ("per_class", classes)):
            for name in names:
                drawn.add_row(Text(name), *(_share(evaluations[test].get(key, {}).get(name)) for test in headings))
            drawn.add_section()
        return drawn

    for drawn in _drawn_to_fit(console, {test: test for test in evaluations}, draw):
        console.print(drawn)


def _share(value: float | None) -> str:
    """A metric as results.json has it; "" where it is not defined."""
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


def show_reproduction(console: Console, table: PaperTable, scale: str, done: "Sequence[RowResult]") -> None:
    """A table of the paper's numbers and those reproduced: mean and min-max/2 over seeds.

    At full scale the rows that the paper quotes from other work are listed too; means over rows come last.
    """
    lines = _lines(table, scale, done)
    parts: dict[str, dict[str, str]] = {}
    for metric, how in table.metrics.items():
        on_domain = how if isinstance(how, DomainTest) else None
        name = metric.partition(" (")[0]
        title = f"({scale}), {name}, prompts: {on_domain.modifier}" if on_domain else f"({scale})"
        if any(metric in one.metrics for one in done):
            parts.setdefault(title, {})[metric] = on_domain.domain if on_domain else metric
    for title, headings in parts.items():
        console.print(Text(f"\n{table.title} {title}", style="bold"))
        for drawn in _drawn_to_fit(console, headings, lambda shown: _with_numbers(table, shown, lines)):
            console.print(drawn)
    runs = len({one.seed for one in done})
    cleaners = dict.fromkeys(one.cleaner for one in done if one.cleaner)
    if cleaners:
        console.print(f"Captions of other domains cleaned by {', '.join(cleaners)}.")
    console.print(f"Mean ± min-max/2 over {runs} seeds." if runs > 1 else "One seed; no spread measured.")


def show_costs(console: Console, table: PaperTable, scale: str, rows: Sequence[str]) -> None:
    """Parameters and multiply-adds of each row's method, and the paper's #Params and FLOPs where it gives some."""
    from tadp_cli.config.recipe import load_recipe
    from tadp_cli.pipelines.inference_cost import costs_of

    own = {row.name: row.paper_costs for row in table.rows if row.paper_costs and (row.reported or row.name in rows)}
    if not own:
        return
    drawn = Table("row", "paper #Params", "UNet, head", "all parts", "paper FLOPs", "VAE, UNet, head", "all parts")
    for row in table.rows:
        if row.name not in own or (row.reported and scale != "full"):
            continue
        paper = [_rounded(own[row.name].get(key), unit) for key, unit in (("parameters", 1e6), ("flops", 1e9))]
        if row.reported:
            drawn.add_row(Text(f"{row.label} (reported)"), paper[0], "", "", paper[1], "", "")
            continue
        costs = costs_of(load_recipe(table.recipe_name(row, scale)))
        trained, whole = costs.total("unet", "head")[0], costs.total()
        features = costs.total("vae", "unet", "head")[1]
        counts = _rounded(trained, 1e6), _rounded(whole[0], 1e6)
        drawn.add_row(Text(row.label), paper[0], *counts, paper[1], _rounded(features, 1e9), _rounded(whole[1], 1e9))
    console.print(Text(f"\n{table.title} ({scale}): millions of parameters, billions of multiply-adds", style="bold"))
    console.print(drawn)
    console.print("All parts: with VAE encoder, text encoder and, where images are captioned, the captioner.")


def show_backbone_costs(console: Console, table: PaperTable, costs: dict[str, dict[str, Any]]) -> None:
    """What the backbone of each row costs, of a table that lists it."""
    labels = {row.name: row.label for row in table.rows}
    known = {
        "side": {name: str(one["image_size"]) for name, one in costs.items()},
        "M params": {name: _rounded(one["parameters"], 1e6) for name, one in costs.items()},
        "GFLOP": {name: _rounded(one["gflops"], 1) for name, one in costs.items()},
        "ms": {name: f"{one['milliseconds']:.1f}" for name, one in costs.items()},
        "gated": {name: "yes" if one["gated"] else "no" for name, one in costs.items()},
        "licence": {name: one["licence"] or "not known" for name, one in costs.items()},
    }

    def draw(shown: Mapping[str, str]) -> Table:
        drawn = Table("row")
        for column in shown:
            drawn.add_column(column, justify="left" if column == "licence" else "right")
        for name in costs:
            drawn.add_row(Text(labels[name]), *(Text(known[column][name]) for column in shown))
        return drawn

    for drawn in _drawn_to_fit(console, {column: column for column in known}, draw):
        console.print(drawn)
    device = next((one["device"] for one in costs.values()), "")
    said = "Side of the image in pixels; parameters and GFLOP of the backbone; ms of the whole model in fp32, one image"
    console.print(f"{said}, {device}.", soft_wrap=True)


def _rounded(count: float | None, unit: float) -> str:
    return "" if count is None else f"{count / unit:.3g}" if count < 10 * unit else f"{count / unit:.0f}"


class _Line(NamedTuple):
    """A line of a reproduced table."""

    label: str
    target: dict[str, float]
    own: list[dict[str, float]]
    """Metrics per seed; empty for what is only reported."""


def _lines(table: PaperTable, scale: str, done: "Sequence[RowResult]") -> list[_Line]:
    from tadp_cli.experiments.reproduce.runner import averages_of

    found = averages_of(table, done)
    rows = [_Line(row.label, row.target, [s.metrics for s in done if s.row == row.name]) for row in table.rows]
    run = [line for line in rows if line.own]
    reported = [_Line(f"{row.label} (reported)", row.target, []) for row in table.rows if row.reported]
    means = [_Line(a.label, a.target, found[a.label]) for a in table.averages if a.label in found]
    return [*(reported if scale == "full" else []), *run, *means]


def _drawn_to_fit(
    console: Console, headings: Mapping[str, str], draw: Callable[[Mapping[str, str]], Table]
) -> Iterator[Table]:
    """As many metrics side by side as fit, the others below them."""
    unbounded, left = console.options.update(max_width=10_000), list(headings.items())
    while left:
        sizes = range(len(left), 0, -1)
        choices = ((size, draw(dict(left[:size]))) for size in sizes)
        size, drawn = next(
            (size, drawn)
            for size, drawn in choices
            if size == 1 or console.measure(drawn, options=unbounded).maximum <= console.width
        )
        yield drawn
        left = left[size:]


def _with_numbers(table: PaperTable, headings: Mapping[str, str], lines: Sequence[_Line]) -> Table:
    """`headings`: {metric: what stands over its column}."""
    drawn = Table("row")
    for heading in headings.values():
        if table.of_the_paper:
            drawn.add_column(Text(f"paper {heading}"), justify="right")
        drawn.add_column(Text(heading), justify="right")
    for line in lines:
        cells = [Text(line.label)]
        for metric in headings:
            values = [found[metric] for found in line.own if metric in found]
            if table.of_the_paper:
                cells.append(Text(_number(metric, [line.target[metric]]) if metric in line.target else ""))
            cells.append(Text(_number(metric, values) if values else ""))
        drawn.add_row(*cells)
    return drawn


def _number(metric: str, values: list[float]) -> str:
    """As the paper prints it: mIoU and AP in percent, depth's errors and shares as they are.

    Mean ± min-max/2; of one value the value alone.
    """
    scale, decimals = (100, 1) if metric.startswith(("mIoU", "AP")) else (1, 3)
    mean, half_range = sum(values) / len(values), (max(values) - min(values)) / 2
    spread = f" ± {scale * half_range:.{decimals}f}" if len(values) > 1 else ""
    return f"{scale * mean:.{decimals}f}{spread}"
