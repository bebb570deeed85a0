"""The semantic FPN for ADE20K and Cityscapes: neck and BatchNorm head of mmsegmentation 0.30.

Its numbers: docs/reference.md, section 1. Module names are that library's, so that published weights load by their own
keys.
"""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tadp_heads.levels import Level

# B batch, K classes; h w = size of the finest level.


class ConvModule(nn.Module):
    """A convolution, with BatchNorm and ReLU when `norm`."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, norm: bool):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=not norm)
        if norm:
            self.bn = nn.BatchNorm2d(out_channels)
            nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        else:
            nn.init.xavier_uniform_(self.conv.weight)
            nn.init.zeros_(self.conv.get_parameter("bias"))
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the size."""
        x = self.conv(x)
        return F.relu(self.bn(x)) if self.norm else x


class Neck(nn.Module):
    """Levels of any width -> levels `width` wide, coarse ones added to fine ones."""

    def __init__(self, levels: Sequence[Level], width: int):
        super().__init__()
        self.lateral_convs = nn.ModuleList(ConvModule(level.channels, width, 1, norm=False) for level in levels)
        self.fpn_convs = nn.ModuleList(ConvModule(width, width, 3, norm=False) for _ in levels)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Finest first, in and out."""
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, features, strict=True)]
        for i in reversed(range(len(laterals) - 1)):
            laterals[i] = laterals[i] + F.interpolate(laterals[i + 1], size=laterals[i].shape[-2:], mode="nearest")
        return [conv(x) for conv, x in zip(self.fpn_convs, laterals, strict=True)]


class DecodeHead(nn.Module):
    """Convolutions and doublings that bring each level to the finest size, their sum, and a classifier."""

    def __init__(self, strides: Sequence[int], width: int, inner_width: int, num_classes: int):
        super().__init__()
        self.scale_heads = nn.ModuleList(
            self._scale_head(stride // strides[0], width, inner_width) for stride in strides
        )
        self.dropout = nn.Dropout2d(0.1)
        self.conv_seg = nn.Conv2d(inner_width, num_classes, 1)
        nn.init.normal_(self.conv_seg.weight, std=0.01)
        nn.init.zeros_(self.conv_seg.get_parameter("bias"))

    @staticmethod
    def _scale_head(ratio: int, width: int, inner_width: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i in range(max(1, round(math.log2(ratio)))):
            layers.append(ConvModule(width if i == 0 else inner_width, inner_width, 3, norm=True))
            if ratio > 1:
                layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
        return nn.Sequential(*layers)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Levels finest first -> (B, K, h, w)."""
        x = self.scale_heads[0](features[0])
        for head, level in zip(self.scale_heads[1:], features[1:], strict=True):
            x = x + F.interpolate(head(level), size=x.shape[-2:], mode="bilinear", align_corners=False)
        return self.conv_seg(self.dropout(x))


class AdeFPN(nn.Module):
    """Levels finest first -> logits (B, K, h, w) at the finest level's size; the caller resizes to the label's."""

    def __init__(self, levels: Sequence[Level], num_classes: int, width: int, inner_width: int):
        super().__init__()
        self.neck = Neck(levels, width)
        self.decode_head = DecodeHead([level.stride for level in levels], width, inner_width, num_classes)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """See the class."""
        return self.decode_head(self.neck(features))
