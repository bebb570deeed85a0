"""Prompts for loose images, as the run was trained."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from tadp_backbone.text.conditioning import averaged_eos_context
from tadp_cli.config.prompt import WORDLESS_PROMPTS
from tadp_cli.config.recipe import Recipe
from tadp_cli.prompts.builder import as_trained, prompts_of
from tadp_cli.prompts.tagging.store import LearntPresence
from tadp_heads import PerceptionModel

# B images, T tokens, D width of the context


class Prompted(NamedTuple):
    """What a model is told of each image."""

    texts: list[str]
    """For the model's template; where embeddings stand in place of words, the captions."""
    context: Tensor | None
    """(B, T, D), as in training; None: that of the texts in the model's template."""


@torch.no_grad()
def prompted(
    recipe: Recipe,
    model: PerceptionModel,
    learnt: LearntPresence | None,
    images: Sequence[Image.Image],
    captions: Sequence[str],
) -> Prompted:
    """The prompts as in training; `learnt`: the run's judge, None where it needs none."""
    if recipe.prompt.kind == "room-type":  # loose images lie in no room's folder: their text names it
        return Prompted(list(captions), torch.cat([averaged_eos_context(model.backbone, [room]) for room in captions]))
    if learnt is None:
        return Prompted(as_trained(recipe.prompt, captions), None)
    ids = [str(place) for place in range(len(images))]
    found, by_id = learnt.find_in(ids, images, captions), dict(zip(ids, captions, strict=True))
    context = prompts_of(recipe.prompt, ids, found.names, model.backbone, by_id, found).context(model.backbone, ids)
    if recipe.prompt.kind in WORDLESS_PROMPTS:
        return Prompted(list(captions), context)
    plain = replace(recipe.prompt, modifier="null")  # the model's own template has the modifier
    texts = prompts_of(plain, ids, found.names, model.backbone, by_id, found).texts
    return Prompted(as_trained(recipe.prompt, [texts[image_id] for image_id in ids]), context)
