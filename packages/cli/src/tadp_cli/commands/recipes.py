"""`tadp recipes`: what can be trained by name."""

from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.progress import console


def recipes(
    only: Annotated[str, typer.Argument(help="part of a name, such as scenes or table-5; none: all but tables")] = "",
) -> None:
    """List the recipes: task, data, schedule, prompt, and what the paper got.

    Example: `tadp recipes table-1`
    """
    with one_line_errors():
        from rich.table import Column, Table

        from tadp_cli.recipes.recipe import load_recipe
        from tadp_cli.recipes.sources import shipped_recipes
        from tadp_cli.recipes.tables import load_table, row_names, table_names

        names = [name for name in shipped_recipes() if only in name]
        names += [name for name in row_names() if only and only in name]
        if not names:
            raise ValueError(f"no recipe has {only!r} in its name; `tadp recipes` lists all")
        headings = ("prompt", "paper") if only else ("task", "data", "steps x images")
        table = Table(Column("recipe", no_wrap=True), Column(headings[0], no_wrap=True), *headings[1:])
        for name in names:
            recipe = load_recipe(name)
            if only:
                prompt = recipe.prompt.kind if recipe.prompt.modifier == "null" else recipe.prompt.modifier
                paper = ", ".join(f"{metric} {value:.3f}" for metric, value in recipe.target.metrics.items())
                table.add_row(name, prompt, paper)
            else:
                folders = (recipe.data.folder, recipe.test.folder)
                data = " -> ".join(folder.partition(":")[0] for folder in folders if folder)
                table.add_row(name, recipe.task, data, f"{recipe.train.steps} x {recipe.train.effective_batch}")
        console.print(table)
        for name in () if only else table_names():
            rows = len(load_table(name).rows)
            console.print(f"{name}: {rows} rows; `tadp recipes {name}` lists them")
