"""A run's prompts as what training and evaluation take: contexts by image."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.cache import TextCache
from tadp_cli.prompts.builder import LearnedPrompts, Prompts
from tadp_heads.training import SharedContext
from tadp_heads.training.protocols import Contexts


@dataclass(frozen=True)
class PromptContexts:
    """Implements `tadp_heads.training.protocols.Contexts`."""

    prompts: Prompts
    backbone: DiffusionBackbone
    cache: TextCache | None = None

    @property
    def versions(self) -> int:
        """How many texts there are for an image."""
        return self.prompts.versions

    def context(self, ids: Sequence[str], versions: Sequence[int] | None = None) -> Tensor | None:
        """(B, T, D) for these images; None for a backbone without text."""
        return self.prompts.context(self.backbone, ids, self.cache, versions)


def training_contexts(prompts: Prompts, backbone: DiffusionBackbone, cache: str = "") -> Contexts:
    """Those of the training images; `cache`: folder in which they are kept, "" for none."""
    if isinstance(prompts, LearnedPrompts):  # read within the pass, where they are whole if they are sharded
        return SharedContext(None)
    return PromptContexts(prompts, backbone, TextCache(cache, backbone) if cache else None)
