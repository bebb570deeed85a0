"""What decides what a run learns: settings and weights that may not change when it resumes."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tadp_backbone.registry import BACKBONES
from tadp_cli.config.paths import with_absolute_paths
from tadp_cli.config.recipe import Recipe
from tadp_cli.prompts.authors import with_author

_FREE_SECTIONS = ("description", "personalize", "plugins", "seeds", "target", "test")
_FREE = (
    *("cache", "eval_every", "features_gb", "gradient_checkpointing", "keep", "log_with", "save_every", "shard"),
    "workers",
)
"""Settings of [train] that may change when a run resumes: none of them changes what is learned."""


def flat_settings(recipe: Recipe) -> dict[str, Any]:
    """{dotted name: value} of all settings."""
    flat: dict[str, Any] = {}
    for name, value in asdict(recipe).items():
        flat |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def changed_settings(old: Recipe, new: Recipe) -> list[str]:
    """The settings that decide what a run learns, where they differ; a step's images may be split otherwise,
    though BatchNorm and dropout then see other passes."""
    old, new = (with_author(with_absolute_paths(recipe)) for recipe in (old, new))
    if old.train.effective_batch == new.train.effective_batch:
        new = replace(new, train=replace(new.train, batch_size=old.train.batch_size, accumulate=old.train.accumulate))
    before, after = _fixed(old), _fixed(new)
    return [
        f"{name} was {before.get(name)!r}, is now {after.get(name)!r}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def _fixed(recipe: Recipe) -> dict[str, Any]:
    """Those that may not change when a run resumes."""
    free = {f"train.{name}" for name in _FREE}
    flat = flat_settings(recipe).items()
    return {name: value for name, value in flat if name not in free and name.partition(".")[0] not in _FREE_SECTIONS}


def with_version(recipe: Recipe) -> Recipe:
    """The recipe with the version of the shipped weights that it begins with, for a backbone that has one."""
    section, known = recipe.backbone, BACKBONES.get(recipe.backbone.source)
    there = known.version if known else 0
    if section.version not in (0, there):
        has = f"this tadp has version {there}" if there else "only models that come with tadp have versions"
        raise ValueError(f"backbone.version is {section.version} for {section.source!r}: {has}; leave the setting out")
    return recipe.replace(**{"backbone.version": there}) if there else recipe


def check_version(folder: Path, old: Recipe, new: Recipe) -> None:
    """Raise if the run in `folder` was begun on other weights of that name; what names no version is from the first."""
    name = new.backbone.source
    before, now = old.backbone.version or 1, new.backbone.version
    if name == old.backbone.source and now and before != now:
        raise ValueError(
            f"{folder} was begun with version {before} of the model {name!r}, and this tadp has version {now}: resume "
            "it with the tadp that began it, or name another --out (evaluation and prediction work: a finished run "
            "holds its model)"
        )
