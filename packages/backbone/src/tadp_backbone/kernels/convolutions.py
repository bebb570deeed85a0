"""Convolutions without a padded copy, and im2col for small feature maps on CPUs."""

# B batch, C channels, H W cells

from typing import TypeGuard

import torch
import torch.nn.functional as F
from diffusers.models.downsampling import Downsample2D
from einops import rearrange
from torch import Tensor, nn

from .available import needs_gradient
from .unmodified import is_unmodified

MAX_CELLS = {torch.float32: 128, torch.bfloat16: 512}
"""Output cells of a batch up to which im2col is faster on a CPU with AVX512-BF16 (benchmarks/test_cpu_blocks.py)."""
MIN_WEIGHTS = 2**23
"""1280 x 1280 channels are faster by im2col; 640 x 640, 8 x 8 cells in float32, take 1.2 times as long."""


class Im2colConv2d(nn.Conv2d):
    """A 3x3 convolution that on a CPU, for small feature maps, is im2col and one matrix product.

    oneDNN's convolution copies its weights into its own order at each call: of 2560 x 1280 channels and 8 x 8 cells
    that takes longer than the convolution. Weights are to lie in channels_last memory. Not with gradients: the backward
    pass would keep each cell 9 times.
    """

    @staticmethod
    def matches(module: nn.Module) -> TypeGuard[nn.Conv2d]:
        return type(module) is nn.Conv2d and _is_plain(module) and module.weight.numel() >= MIN_WEIGHTS

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(B, C in, H, W) -> (B, C out, ceil(H / stride), ceil(W / stride))"""
        # Before sizes are looked at: they would become guards of a compiled or exported graph. Adapters make layers of
        # their base layer's class and other kernel sizes.
        if torch.compiler.is_compiling() or input.ndim != 4 or not _is_plain(self):
            return super()._conv_forward(input, weight, bias)
        step = self.stride[0]
        cells = input.shape[0] * -(-input.shape[2] // step) * -(-input.shape[3] // step)
        small = input.device.type == "cpu" and cells <= MAX_CELLS.get(input.dtype, 0)
        if not small or needs_gradient(input, weight, bias):
            return super()._conv_forward(input, weight, bias)
        x = F.pad(rearrange(input, "b c h w -> b h w c"), (0, 0, 1, 1, 1, 1))
        x = rearrange(x.unfold(1, 3, step).unfold(2, 3, step), "b h w c i j -> b h w (i j c)")
        x = F.linear(x, rearrange(weight, "o c i j -> o (i j c)"), bias)
        return rearrange(x, "b h w c -> b c h w")


def _is_plain(conv: nn.Conv2d) -> bool:
    """3x3 with a border of zeros, in steps of one or two."""
    return (
        (conv.kernel_size, conv.padding, conv.dilation) == ((3, 3), (1, 1), (1, 1))
        and conv.stride in ((1, 1), (2, 2))
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


class UnpaddedDownsample(Downsample2D):
    """The VAE encoder's strided convolution, which pads at the bottom and the right, without the padded copy.

    Padded by 2 on all sides inside the convolution it starts one output cell earlier; that row and column are left out.
    """

    @staticmethod
    def matches(module: nn.Module) -> TypeGuard[Downsample2D]:
        return type(module) is Downsample2D and bool(module.use_conv and module.padding == 0 and module.norm is None)

    def forward(self, hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor:
        """(B, C, H, W) -> (B, C out, H // 2, W // 2)"""
        conv = self.conv
        usual = is_unmodified(conv) and (conv.padding_mode, conv.groups) == ("zeros", 1) and not (args or kwargs)
        if not usual or (conv.kernel_size, conv.stride, conv.dilation) != ((3, 3), (2, 2), (1, 1)):
            return super().forward(hidden_states, *args, **kwargs)
        height, width = (side // 2 for side in hidden_states.shape[-2:])
        x = F.conv2d(hidden_states, conv.weight, conv.bias, stride=2, padding=2)
        return x[..., 1 : 1 + height, 1 : 1 + width].contiguous(memory_format=torch.channels_last)


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """An unmodified 1x1 convolution of (B, C, H, W) as a linear layer, in channels_last memory; others as they are."""
    if (conv.kernel_size, conv.stride, conv.padding, conv.groups) != ((1, 1), (1, 1), (0, 0), 1):
        return conv(x)
    x = F.linear(rearrange(x, "b c h w -> b h w c"), conv.weight.flatten(1), conv.bias)
    return rearrange(x, "b h w c -> b c h w")
