"""The baseline of `driving.py`: a U-Net of 0.12 million parameters, or 0.48 at width 16; nothing learned before."""

import torch
from torch import Tensor, nn


def _convolutions(before: int, after: int) -> nn.Sequential:
    layers = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """(B, 3, H, W) in [-1, 1] -> logits (B, K, H, W); other sides than multiples of `multiple` are padded."""

    def __init__(self, num_classes: int, width: int = 8):
        super().__init__()
        widths = (width, 2 * width, 4 * width, 8 * width)
        self.multiple = 2 ** (len(widths) - 1)
        self.down = nn.ModuleList(_convolutions(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True))
        pairs = list(zip(widths[::-1], widths[-2::-1], strict=False))  # from the coarsest to the finest
        self.widen = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(_convolutions(2 * b, b) for _, b in pairs)
        self.last = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = nn.functional.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        skipped = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else nn.functional.max_pool2d(x, 2))
            skipped.append(x)
        skipped.pop()
        for widen, block in zip(self.widen, self.up, strict=True):
            x = block(torch.cat([widen(x), skipped.pop()], 1))
        return self.last(x)[..., :height, :width]
