"""Who wrote a run's captions, and how: taken from their file, recorded in the run, used for its new captions."""

import logging
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tadp_captioning import Captioner, CaptionRecord, CaptionStore, GenerationConfig, load_captioner
from tadp_captioning.cleaning.factory import PREFIX, RULES
from tadp_captioning.factory import is_captioner
from tadp_captioning.formats import read_records
from tadp_cli.config.recipe import Recipe

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
"""The captioner of captions that name none, such as hand-written ones."""


def read_captions(file: Path, author: str = "") -> CaptionStore:
    """The captions of a file by one author: by `author` where several wrote it; lines that name none belong to all."""
    records = list(read_records(file.expanduser()))
    if author and author in {record.captioner for record in records}:
        records = [record for record in records if record.captioner in ("", author)]
    store = CaptionStore(records)
    counts = Counter(record.captioner for record in _written(store) if record.captioner)
    if len(counts) > 1:
        found = ", ".join(f"{name} ({count})" for name, count in counts.most_common())
        raise ValueError(
            f"{file} has captions by several captioners, {found}: choose one with --set data.captioner="
            f"{counts.most_common(1)[0][0]}"
        )
    return store


def with_author(recipe: Recipe) -> Recipe:
    """The recipe with the captioner of its captions, and the settings that it wrote them with."""
    if not recipe.needs_captions:
        return recipe
    file = Path(recipe.data.captions)
    if not recipe.data.captions or not file.expanduser().exists():
        return recipe.replace(**{"data.captioner": recipe.captioner})
    counts = Counter((r.captioner, r.params) for r in _written(read_captions(file, recipe.data.captioner)))
    named = Counter({key: count for key, count in counts.items() if key[0]})
    if not named:
        return recipe.replace(**{"data.captioner": recipe.data.captioner or UNKNOWN})
    (author, params), _ = named.most_common(1)[0]
    if recipe.data.captioner not in ("", author):
        log.warning(
            "%s has captions by %s; images without a caption are captioned by %s, as data.captioner says",
            *(file, author, recipe.data.captioner),
        )
        return recipe
    own = (author, generation_of(recipe).params)
    return recipe if recipe.data.captioner and own in named else _with_params(recipe, author, params, len(named))


def _with_params(recipe: Recipe, author: str, params: str, kinds: int) -> Recipe:
    """The recipe with the author of its captions, and the most frequent of their settings."""
    try:
        generation = GenerationConfig.from_params(params)
    except ValueError:  # of another tool
        return recipe.replace(**{"data.captioner": author})
    asked = recipe.data.min_tokens not in (0, generation.min_new_tokens)
    if kinds > 1 or asked:
        reason = f"data.min_tokens is {recipe.data.min_tokens}" if asked else f"they have {kinds} different settings"
        log.warning("%s: new images are captioned with %s as its captions; %s", recipe.data.captions, params, reason)
    changes: dict[str, Any] = {"data.captioner": author, "data.min_tokens": generation.min_new_tokens}
    changes |= {"data.max_tokens": generation.max_new_tokens, "data.captioner_prompt": generation.prompt or ""}
    return recipe.replace(**changes)


def with_cleaner(recipe: Recipe) -> Recipe:
    """The recipe with what cleaned its captions, those of its test data before those that it is trained on."""
    if not recipe.needs_captions:
        return recipe
    for file in (recipe.test.captions, recipe.data.captions):
        if file and Path(file).expanduser().exists():
            counts = Counter(record.cleaner for record in CaptionStore.read(file).records())
            known = [name for name, _ in counts.most_common() if name == RULES or name.startswith(PREFIX)]
            if known:
                return recipe.replace(**{"test.cleaner": known[0]})
    return recipe


def check_author(recipe: Recipe, whose: object, fix: str) -> None:
    """Raise unless the recipe's captioner can caption further images."""
    if is_captioner(recipe.captioner):
        return
    name = recipe.captioner
    problem = "name no captioner" if name == UNKNOWN else f"are by {name!r}, which cannot be loaded"
    raise ValueError(f"{whose}: its captions {problem}: {fix}")


def captioner_of(recipe: Recipe, device: str, name: str = "") -> Captioner:
    """The recipe's captioner with the settings that it records, or another one, `name`, with its own."""
    if name not in ("", recipe.captioner):
        return load_captioner(name, device=device)
    return load_captioner(recipe.captioner, device=device, **asdict(generation_of(recipe)))


def generation_of(recipe: Recipe) -> GenerationConfig:
    """The settings with which the recipe has captions written."""
    data = recipe.data
    lengths = {"min_new_tokens": data.min_tokens, "max_new_tokens": data.max_tokens}
    return GenerationConfig(**lengths, prompt=data.captioner_prompt or None)


def _written(store: CaptionStore) -> list[CaptionRecord]:
    return [record for record in store.records() if record.error is None]
