"""The linear head by which frozen backbones are compared (DINOv2, Oquab et al. 2023, section 7.4)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tadp_heads.registered_head import recording

# B images, K classes, h w cells of a level


class LinearHead(nn.Module):
    """BatchNorm and one linear classifier for each cell, on all levels resized to the finest one's size."""

    def __init__(self, levels: Sequence[Any], num_classes: int):
        super().__init__()
        channels = sum(level.channels for level in levels)
        self.norm = nn.BatchNorm2d(channels)
        self.classify = nn.Conv2d(channels, num_classes, 1)

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """Levels finest first -> logits (B, K, h, w) at the finest level's size."""
        size = levels[0].shape[-2:]
        maps = [F.interpolate(level, size, mode="bilinear", align_corners=False) for level in levels]
        return self.classify(self.norm(torch.cat(maps, 1)))


recording(LinearHead, ("levels", "num_classes"))
