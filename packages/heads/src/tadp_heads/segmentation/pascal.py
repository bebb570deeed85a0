"""The semantic FPN for Pascal VOC: GroupNorm, as segmentation-models-pytorch 0.3.3 builds it.

Its numbers: docs/reference.md, section 1. Module names are that library's, so that published weights load by their own
keys.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from tadp_heads.levels import Level

# B batch, K classes; h w = size of a level, finest first: level i is about h/2^i x w/2^i.
Size = tuple[int, int]
GROUPS = 32
"""Of every GroupNorm."""


class SkipBlock(nn.Module):
    """Adds a level to the coarser one above it."""

    def __init__(self, width: int, skip_channels: int):
        super().__init__()
        self.skip_conv = nn.Conv2d(skip_channels, width, 1)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """The result has the size of `skip`."""
        return F.interpolate(coarse, size=skip.shape[-2:], mode="nearest") + self.skip_conv(skip)


class ConvNormReLU(nn.Module):
    """Conv 3x3, GroupNorm(32), ReLU; then resized when a size is given."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, out_channels),
            nn.ReLU(),
        )

    def forward(self, x: Tensor, size: Size | None) -> Tensor:
        """`size` None leaves the size unchanged."""
        x = self.block(x)
        return x if size is None else F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class SegmentationBlock(nn.Module):
    """Brings level `depth` to the finest size: one convolution and doubling per level, one convolution at depth 0."""

    def __init__(self, in_channels: int, out_channels: int, depth: int):
        super().__init__()
        self.block = nn.ModuleList(
            ConvNormReLU(in_channels if i == 0 else out_channels, out_channels) for i in range(max(1, depth))
        )

    def forward(self, x: Tensor, sizes: Sequence[Size]) -> Tensor:
        """`sizes` are those of the `depth` finer levels, the next finer one first."""
        for index, layer in enumerate(self.block):
            x = layer(x, sizes[index] if sizes else None)
        return x


class PascalDecoder(nn.Module):
    """Pyramid summed at the finest level's size; 256 and 128 channels wide in the library."""

    def __init__(self, levels: Sequence[Level], pyramid_channels: int, segmentation_channels: int, dropout: float):
        super().__init__()
        # p5 is the coarsest of four levels in the library; the names count down from there however many there are.
        self.p5 = nn.Conv2d(levels[-1].channels, pyramid_channels, 1)
        self.skips = tuple(f"p{4 - i}" for i in range(len(levels) - 1))
        for name, level in zip(self.skips, reversed(levels[:-1]), strict=True):
            self.add_module(name, SkipBlock(pyramid_channels, level.channels))
        self.seg_blocks = nn.ModuleList(
            SegmentationBlock(pyramid_channels, segmentation_channels, depth) for depth in reversed(range(len(levels)))
        )
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Levels finest first -> (B, segmentation_channels, h, w) of the finest."""
        pyramid = [self.p5(features[-1])]
        for name, skip in zip(self.skips, reversed(features[:-1]), strict=True):
            pyramid.append(self.get_submodule(name)(pyramid[-1], skip))
        # Sizes are the levels' own instead of doublings: the same where they divide, and right where they don't.
        sizes = [tuple(p.shape[-2:]) for p in pyramid]
        parts = [block(p, sizes[i + 1 :]) for i, (block, p) in enumerate(zip(self.seg_blocks, pyramid, strict=True))]
        return self.dropout(sum(parts))


class PascalFPN(nn.Module):
    """Levels finest first -> logits (B, K, stride h, stride w): the image's own size."""

    def __init__(self, levels: Sequence[Level], num_classes: int, width: int, inner_width: int):
        super().__init__()
        self.decoder = PascalDecoder(levels, pyramid_channels=width, segmentation_channels=inner_width, dropout=0.2)
        self.segmentation_head = nn.Sequential(nn.Conv2d(inner_width, num_classes, 1))
        self.upsampling = levels[0].stride

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """See the class."""
        logits = self.segmentation_head(self.decoder(features))
        return F.interpolate(logits, scale_factor=self.upsampling, mode="bilinear", align_corners=True)
