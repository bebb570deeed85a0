"""Paths of a recipe, made absolute where a run begins: from another working directory they name the same files.

Captions and tokens of the hub are downloaded then, and named by their place in its cache.
"""

import os
from pathlib import Path

from tadp_backbone.registry import BACKBONES, TAESD
from tadp_backbone.vision.table import VISION_BACKBONES
from tadp_cli.config.recipe import Recipe
from tadp_heads.data.registry import split_name
from tadp_heads.hub.repository import is_repository, local_folder

_PATHS = (
    *("data.folder", "data.captions", "test.folder", "test.captions"),
    *("prompt.token_file", "backbone.unet", "backbone.lora", "backbone.source", "backbone.vae"),
    *("self_training.images", "self_training.captions"),
)
_NAMES = {"backbone.source": (*BACKBONES, *VISION_BACKBONES), "backbone.vae": (TAESD,)}
"""{setting: names that mean no folder, even where one is called so}."""


_FETCHED = ("data.captions", "test.captions", "prompt.token_file")
"""Settings that may name a repository owner/name; those of [backbone] keep the name."""


def absolute(where: str) -> str:
    """The absolute path of a file, a folder or NAME:FOLDER; "" unchanged."""
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
        if setting in _FETCHED and is_repository(value):
            changes[setting] = str(_fetched(setting, value))
        elif value and not named and absolute(value) != value:
            changes[setting] = absolute(value)
    return recipe.replace(**changes) if changes else recipe


def _fetched(setting: str, repository: str) -> Path:
    """The file of captions or of a token in a repository."""
    if setting == "prompt.token_file":
        return local_folder(repository) / "learned_embeds.safetensors"
    from tadp_captioning.hub.dataset import captions_path

    return captions_path(repository)
