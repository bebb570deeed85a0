"""Small trainable parts in front of the UNet."""

import torch
from torch import Tensor, nn


class TextAdapter(nn.Module):
    """x + gamma * MLP(x) on contexts (B, T, D), as VPD has it (vpd/models.py:271-298); starts close to identity."""

    def __init__(self, dim: int):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.gamma = nn.Parameter(torch.full((dim,), 1e-4))

    def forward(self, context: Tensor) -> Tensor:
        return context + self.gamma * self.mlp(context)


class LearnedContext(nn.Module):
    """Free vectors in place of text (MetaPrompts): (count, D), the same for every image."""

    def __init__(self, count: int, dim: int):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(count, dim) * 0.02)

    def forward(self, batch: int) -> Tensor:
        """-> (batch, count, D)"""
        return self.vectors.expand(batch, -1, -1)
