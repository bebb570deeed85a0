"""`tadp recipes`: what can be trained by name."""

from typing import TYPE_CHECKING, Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.progress import console

if TYPE_CHECKING:
    from tadp_cli.config.recipe import Recipe

_ROOM = 120
"""Columns that the table needs."""


def recipes(
    only: Annotated[str, typer.Argument(help="part of a name, such as scenes or table-5; none: all but tables")] = "",
    costs: Annotated[
        bool, typer.Option("--costs", help="estimate GPU memory and hours of training, without weights or data")
    ] = False,
) -> None:
    """List the recipes: task, data, prompt, schedule (steps x effective batch size), and the paper's result.

    For recipes of table rows, the paper's table instead.

    Example: `tadp recipes table-1`
    """
    with one_line_errors():
        from rich.table import Column, Table

        from tadp_cli.config.inheritance import shipped_recipes
        from tadp_cli.config.paper_tables import load_table, paper_tables, row_names, table_names
        from tadp_cli.config.recipe import load_recipe

        names = [name for name in shipped_recipes() if only in name]
        names += [name for name in row_names() if only and only in name]
        if not names:
            raise ValueError(f"no recipe has {only!r} in its name; `tadp recipes` lists all")
        if costs:
            _print_costs([name for name in names if load_recipe(name).backbone.source != "tiny"])
            return
        whole = (Column(heading, no_wrap=True) for heading in ("recipe", "task", "data", "prompt"))
        table = Table(*whole, "schedule", "paper", box=None, pad_edge=False)
        tables = paper_tables()
        for name in names:
            recipe = load_recipe(name)
            paper = ", ".join(f"{metric} {value:.3f}" for metric, value in recipe.target.metrics.items())
            table.add_row(name, *_cells(recipe), paper or ", ".join(tables.get(name, ())))
        # In less room names would be cut off; a narrow terminal breaks the lines itself, a file keeps them.
        console.width = max(console.width, _ROOM)
        console.print(table)
        for name in () if only else table_names():
            rows = load_table(name).rows
            quoted = sum(row.reported for row in rows)
            also = f", and {quoted} that the paper quotes from other work" if quoted else ""
            console.print(f"{name}: {len(rows) - quoted} rows{also}; `tadp recipes {name}` lists them")


def _print_costs(names: list[str]) -> None:
    """A line per recipe; the precision that a recipe does not have is estimated as if it had."""
    from tadp_cli.config.recipe import load_recipe
    from tadp_cli.pipelines.training_cost import FLOPS, TrainingCosts

    known = TrainingCosts()
    console.print("Estimates for one H100, training alone (docs/performance.md):")
    for name in names:
        recipe = load_recipe(name)
        train, found = recipe.train, {precision: known.of(recipe, precision) for precision in FLOPS}
        cells = ", ".join(f"{p} {cost.memory / 1e9:.0f} GB {cost.hours:.1f} h" for p, cost in found.items())
        console.print(
            f"{name}: {train.steps} steps of {train.accumulate} x {train.batch_size} images, {cells}", soft_wrap=True
        )


def _cells(recipe: "Recipe") -> tuple[str, str, str, str]:
    """Task, data, prompt and schedule, so short that the longest names of rows leave room for them in _ROOM."""
    task = {"segmentation": "segm.", "detection": "det."}.get(recipe.task, recipe.task)
    folders = (recipe.data.folder or "--data", recipe.test.folder)
    data = " ->\n".join(folder.partition(":")[0] for folder in folders if folder)
    prompt = recipe.prompt.kind if recipe.prompt.modifier == "null" else recipe.prompt.modifier
    steps = recipe.train.steps
    length = str(steps) if steps < 1000 else f"{steps / 1000:.3g}k"
    schedule = recipe.train.schedule.removesuffix("-mmcv")
    return task, data, prompt, f"{schedule} {length} x {recipe.train.effective_batch}"
