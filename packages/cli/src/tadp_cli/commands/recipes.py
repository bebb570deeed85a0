"""`tadp recipes`: what can be trained by name."""

from tadp_cli.errors import one_line_errors
from tadp_cli.progress import console


def recipes() -> None:
    """List the shipped recipes: task, prompt, schedule."""
    with one_line_errors():
        from rich.table import Table

        from tadp_cli.recipes.recipe import load_recipe, shipped_recipes

        table = Table("recipe", "task", "prompt", "backbone", "steps", "what it is")
        for name in shipped_recipes():
            recipe = load_recipe(name)
            prompt = recipe.prompt.kind
            source, steps = recipe.backbone.source, str(recipe.train.steps)
            table.add_row(name, recipe.task, prompt, source, steps, recipe.description)
        console.print(table)
