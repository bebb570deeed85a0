"""Gaussian noise of a batch, from one generator for all images or from one per image."""

# B batch

from collections.abc import Sequence

import torch
from torch import Tensor

Generators = torch.Generator | Sequence[torch.Generator] | None
"""One for the batch; one per image, whose noise then does not depend on the rest of the batch; None: torch's own."""


def standard_normal(like: Tensor, generator: Generators) -> Tensor:
    """Noise of the shape (B, ...), type and device of `like`; from generators it is drawn in float32 and rounded."""
    if generator is None:
        return torch.randn(like.shape, dtype=like.dtype, device=like.device)
    if isinstance(generator, torch.Generator):
        return torch.randn(like.shape, generator=generator, device=generator.device).to(like)
    if len(generator) != len(like):
        raise ValueError(f"{len(generator)} generators for {len(like)} images: expected one each, or one for all")
    return torch.stack([torch.randn(like.shape[1:], generator=g, device=g.device) for g in generator]).to(like)
