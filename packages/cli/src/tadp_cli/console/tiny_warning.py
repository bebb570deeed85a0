"""The warning where the tiny models get images that they were not trained for."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tadp_cli.console.launchers import first_process
from tadp_cli.console.progress import console

if TYPE_CHECKING:
    from tadp_cli.config.recipe import Recipe


def warn_of_tiny(data: Iterable[str | Path], instead: str, **models: str) -> None:
    """One prominent line where one of `models` {kind: name} is tiny and `data` is not all Scenes.

    `instead`: what to type for other models. A command calls this once.
    """
    from tadp_cli.config.default_models import PURPOSE, TINY, are_scenes

    tiny = [kind for kind, name in models.items() if name == TINY]
    if tiny and first_process() and not are_scenes(data):
        text = f"WARNING: the tiny {' and '.join(tiny)} on images that are not Scenes: {PURPOSE}; for results {instead}"
        console.print(text, style="bold yellow", markup=False, highlight=False, soft_wrap=True)


def warn_of_recipe(recipe: "Recipe", *further: str | Path, instead: str = "") -> None:
    """`warn_of_tiny` of the models of a recipe, for its data and `further` images."""
    models = {"backbone": recipe.backbone.source}
    if recipe.needs_captions and not recipe.data.captions:
        models["captioner"] = recipe.captioner
    data = [where for where in (recipe.data.folder, recipe.test.folder, *further) if where]
    warn_of_tiny(data, instead or f"take the recipe {recipe.task}, or --set backbone.source=sd15", **models)
