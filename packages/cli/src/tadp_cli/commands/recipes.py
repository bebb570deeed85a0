"""`tadp recipes`: what can be trained by name."""

from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.progress import console


def recipes(
    only: Annotated[str, typer.Argument(help="part of a name, such as scenes or table-5; none: all")] = "",
) -> None:
    """List the recipes: task, data, prompt, schedule, and what the paper got.

    Example: `tadp recipes table-1`
    """
    with one_line_errors():
        from rich.table import Table

        from tadp_cli.recipes.recipe import load_recipe, shipped_recipes
        from tadp_cli.recipes.tables import row_names

        names = [name for name in (*shipped_recipes(), *row_names()) if only in name]
        if not names:
            raise ValueError(f"no recipe has {only!r} in its name; `tadp recipes` lists all")
        table = Table("recipe", "task", "data", "prompt", "backbone", "steps x images", "paper")
        for name in names:
            recipe = load_recipe(name)
            prompt = recipe.prompt.kind if recipe.prompt.modifier == "null" else f"caption, {recipe.prompt.modifier}"
            data = " -> ".join(part.partition(":")[0] for part in (recipe.data.folder, recipe.test.folder) if part)
            schedule = f"{recipe.train.steps} x {recipe.train.effective_batch}"
            paper = ", ".join(f"{metric} {value:.3f}" for metric, value in recipe.target.metrics.items())
            table.add_row(name, recipe.task, data, prompt, recipe.backbone.source, schedule, paper)
        console.print(table)
