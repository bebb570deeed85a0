"""Which recipe of the package a run was trained with."""

import tomllib

from tadp_cli.config.inheritance import shipped_recipes
from tadp_cli.config.recipe import Recipe, load_recipe


def recipe_of_package(recipe: Recipe) -> tuple[str, Recipe] | None:
    """(name, recipe) of the package's with the same description, which settings do not change; None: a recipe of one's
    own."""
    for name, file in shipped_recipes().items():
        described = tomllib.loads(file.read_text(encoding="utf-8")).get("description")
        if described and described == recipe.description:
            return name, load_recipe(name)
    return None
