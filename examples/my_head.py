"""A segmentation head of one's own: a linear classifier on all feature levels.

tadp train voc2012 --data voc2012:data/voc2012 --plugin my_head.py --set head.name=linear --out runs/mine
tadp eval runs/mine --plugin my_head.py
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tadp_heads import register_head


@register_head("segmentation", "linear")
class LinearHead(nn.Module):
    """Feature levels, finest first -> logits (B, num_classes, h, w) at the size of the finest level."""

    def __init__(self, levels, num_classes: int, dropout: float = 0.1):
        super().__init__()
        channels = sum(level.channels for level in levels)
        self.classify = nn.Sequential(
            nn.BatchNorm2d(channels), nn.Dropout2d(dropout), nn.Conv2d(channels, num_classes, 1)
        )

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        size = levels[0].shape[-2:]
        return self.classify(torch.cat([F.interpolate(level, size, mode="bilinear") for level in levels], 1))
