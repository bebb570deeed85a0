"""Prompts for loose images, as the run was trained."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor

from tadp_cli.prompts.kind import prompt_kind
from tadp_cli.prompts.prompter import Prompter
from tadp_heads import PerceptionModel
from tadp_heads.tagging.presence import Presence

# B images, T tokens, D width of the context


class LooseTagger(Protocol):
    """Finds the classes in loose images: a run's image tagger, or what a person selected in its place."""

    def find_in(self, ids: Sequence[str], images: Sequence[Image.Image], captions: Sequence[str]) -> Presence:
        """Of one caption per image."""
        ...


class Prompted(NamedTuple):
    """What a model is prompted with for each image."""

    texts: list[str] | None
    """The prompts; None where embeddings replace words."""
    context: Tensor | None
    """(B, T, D), as in training; None for a backbone without text."""

    @property
    def text_context(self) -> Tensor:
        """The context, where text is the point; ValueError for a backbone without text."""
        if self.context is None:
            raise ValueError("the run's backbone takes no text: expected a diffusion model's, or one with a text tower")
        return self.context


@torch.no_grad()
def prompted(
    prompter: Prompter,
    model: PerceptionModel,
    tagger: LooseTagger | None,
    images: Sequence[Image.Image],
    captions: Sequence[str],
) -> Prompted:
    """The prompts as in training, of new captions; `tagger`: the run's, None where it needs none."""
    if model.context is not None:
        return Prompted(None, model.context.expand(len(images), -1, -1))
    ids, captions = [str(place) for place in range(len(images))], prompter.clean(captions)
    found = None if tagger is None else tagger.find_in(ids, images, captions)
    prompts = prompter.of_captions(captions, model.backbone, found)
    shown = prompt_kind(prompter.config.kind).has_words
    texts = [prompts.texts[image_id] for image_id in ids] if shown else None
    return Prompted(texts, prompts.context(model.backbone, ids))
