"""Contexts of a model's own prompt, for training without a prompt builder."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tadp_heads.model import PerceptionModel


class ModelContexts:
    """Each image's caption in the prompt of the model's config; without captions the model's own text."""

    versions = 1

    def __init__(self, model: PerceptionModel, captions: Mapping[str, str] | None = None):
        """`captions`: {image id: caption}."""
        if captions is None and not model.has_fixed_prompt:
            raise ValueError("the model's prompt has a place for captions: pass ModelContexts(model, captions)")
        self.model, self.captions = model, captions

    @torch.no_grad()
    def context(self, ids: Sequence[str], versions: Sequence[int] | None = None) -> Tensor | None:
        """(B, T, D); None where the backbone takes no text, or has a context that trains."""
        captions, learned = self.captions, getattr(self.model.backbone, "learnt_context", None)
        if learned is not None and self.model.context is None:
            return None
        return self.model.encode_captions(["" if captions is None else captions[image_id] for image_id in ids])


class SharedContext:
    """One context for all images."""

    versions = 1

    def __init__(self, context: Tensor | None):
        """(1, T, D), or None for a backbone that has it itself."""
        self.shared = context

    def context(self, ids: Sequence[str], versions: Sequence[int] | None = None) -> Tensor | None:
        """(B, T, D)."""
        return None if self.shared is None else self.shared.expand(len(ids), -1, -1)
