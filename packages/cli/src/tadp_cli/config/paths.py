"""Paths of a recipe, made absolute where a run begins: from another working directory they name the same files."""

import os

from tadp_backbone.registry import BACKBONES, TAESD
from tadp_cli.config.recipe import Recipe
from tadp_heads.data.registry import split_name

_PATHS = (
    *("data.folder", "data.captions", "test.folder", "test.captions"),
    *("prompt.token_file", "backbone.unet", "backbone.lora", "backbone.source", "backbone.vae"),
)
_NAMES = {"backbone.source": BACKBONES, "backbone.vae": (TAESD,)}
"""{setting: names that mean no folder, even where one is called so}."""


def absolute(where: str) -> str:
    """The absolute path of a file, a folder or NAME:FOLDER; "" as it is."""
    if not where:
        return where
    name, folder = split_name(where)
    path = os.path.abspath(folder)
    return path if name is None else f"{name}:{path}"


def with_absolute_paths(recipe: Recipe) -> Recipe:
    """The recipe with absolute paths; names of tables and of the hub stay."""
    changes = {}
    for setting in _PATHS:
        section, key = setting.split(".")
        value = getattr(getattr(recipe, section), key)
        named = value in _NAMES.get(setting, ()) or (setting.startswith("backbone.") and not os.path.exists(value))
        if value and not named and absolute(value) != value:
            changes[setting] = absolute(value)
    return recipe.replace(**changes) if changes else recipe
