"""What of a recipe holds for a vision transformer, which has no diffusion steps and often no text."""

import logging
from dataclasses import fields
from typing import Any

from tadp_backbone.vision.table import has_text, is_vision
from tadp_cli.config.recipe import BackboneSection, Recipe

_DIFFUSION = ("vae", "timestep", "latent_scale", "posterior", "noise", "text_adapter", "image_range")
_TUNED = ("backbone.unet", "backbone.lora", "prompt.token_file", "train.crops", "train.cache")
"""Settings that name what only a diffusion model takes."""
_WITHOUT_TEXT = {
    "prompt.kind": "empty",
    "prompt.modifier": "null",
    "prompt.domain": "",
    "prompt.styles": (),
    "test.modifier": "null",
    "backbone.map_index": "token",
    "backbone.map_words": (),
    "backbone.map_strides": (),
}

log = logging.getLogger(__name__)


def for_backbone(recipe: Recipe) -> Recipe:
    """The recipe as its backbone takes it: unchanged for a diffusion model.

    For a vision transformer the settings of diffusion are those of no diffusion, and without a text tower the prompt is
    empty, which is logged. ValueError for settings that it cannot do without.
    """
    source = recipe.backbone.source
    if not is_vision(source):
        return recipe
    for name in _TUNED:
        section, key = name.split(".")
        if getattr(getattr(recipe, section), key):
            raise ValueError(f"{name} is for diffusion models, and {source} is a vision transformer: leave it out")
    defaults = {field.name: field.default for field in fields(BackboneSection)}
    changes: dict[str, Any] = {f"backbone.{name}": defaults[name] for name in _DIFFUSION}
    if not has_text(source):
        changes |= _WITHOUT_TEXT
    elif not recipe.kind.is_text or recipe.needs_presence:
        given = f"prompt {recipe.prompt.kind!r}"
        raise ValueError(f"{given} is made with a diffusion model: take empty, class-names, caption or oracle")
    changed = [name for name, value in changes.items() if _differs(recipe, name, value)]
    if changed:
        log.info("%s is a vision transformer; not used: %s", source, ", ".join(changed))
    return recipe.replace(**changes)


def vision_settings(recipe: Recipe) -> dict[str, Any]:
    """What the recipe says otherwise than the source's own VisionConfig."""
    section = recipe.backbone
    changes: dict[str, Any] = {
        name: getattr(section, name) for name in ("map_strides", "taps") if getattr(section, name)
    }
    if not section.attention_maps:
        changes["map_strides"] = ()
    return changes if section.detach_maps else changes | {"detach_maps": False}


def _differs(recipe: Recipe, name: str, value: Any) -> bool:
    section, key = name.split(".")
    return getattr(getattr(recipe, section), key) != value
