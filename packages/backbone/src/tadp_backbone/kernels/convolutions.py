"""Convolutions with less around them: no padded copy, and on CPUs no reordering of weights for a few cells."""

# B batch, C channels, H W cells

from typing import TypeGuard

import torch
import torch.nn.functional as F
from diffusers.models.downsampling import Downsample2D
from einops import rearrange
from torch import Tensor, nn

from .available import needs_gradient, untouched

MOST_CELLS = {torch.float32: 128, torch.bfloat16: 512}
"""Output cells of a batch up to which `FewCellsConv2d` multiplies; measured on a CPU with AVX512-BF16."""
LEAST_WEIGHTS = 2**20
"""Of fewer weights the reordering costs less than the operations that avoid it."""


class FewCellsConv2d(nn.Conv2d):
    """A 3x3 convolution that on a CPU, for a few cells, is a product with the weights as they lie in memory.

    oneDNN's convolution first copies its weights into its own order, at each call: of 2560 x 1280 channels and 8 x 8
    cells that takes longer than the convolution. The weights are in channels_last memory. Not with gradients: the
    product would keep each cell 9 times for the backward pass.
    """

    @staticmethod
    def takes(module: nn.Module) -> TypeGuard[nn.Conv2d]:
        return (
            type(module) is nn.Conv2d
            and (module.kernel_size, module.padding, module.dilation) == ((3, 3), (1, 1), (1, 1))
            and module.stride in ((1, 1), (2, 2))
            and module.groups == 1
            and module.padding_mode == "zeros"
            and module.weight.numel() >= LEAST_WEIGHTS
        )

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(B, C in, H, W) -> (B, C out, H / stride, W / stride)"""
        cells = input.shape[0] * input.shape[2] * input.shape[3] // self.stride[0] ** 2
        few = input.device.type == "cpu" and cells <= MOST_CELLS.get(input.dtype, 0)
        if not few or needs_gradient(input, weight, bias) or torch.compiler.is_compiling():
            return super()._conv_forward(input, weight, bias)
        x = F.pad(rearrange(input, "b c h w -> b h w c"), (0, 0, 1, 1, 1, 1))
        step = self.stride[0]
        x = rearrange(x.unfold(1, 3, step).unfold(2, 3, step), "b h w c i j -> b h w (i j c)")
        x = F.linear(x, rearrange(weight, "o c i j -> o (i j c)"), bias)
        return rearrange(x, "b h w c -> b c h w")


class UnpaddedDownsample(Downsample2D):
    """The VAE encoder's strided convolution, which pads at the bottom and the right, without the padded copy.

    Padded by 2 on all sides inside the convolution it starts one output cell earlier; that row and column are left out.
    """

    @staticmethod
    def takes(module: nn.Module) -> TypeGuard[Downsample2D]:
        return type(module) is Downsample2D and bool(module.use_conv and module.padding == 0 and module.norm is None)

    def forward(self, hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor:
        """(B, C, H, W) -> (B, C out, H / 2, W / 2)"""
        conv = self.conv
        usual = untouched(conv) and (conv.padding_mode, conv.groups) == ("zeros", 1) and not (args or kwargs)
        if not usual or (conv.kernel_size, conv.stride, conv.dilation) != ((3, 3), (2, 2), (1, 1)):
            return super().forward(hidden_states, *args, **kwargs)
        height, width = (side // 2 for side in hidden_states.shape[-2:])
        x = F.conv2d(hidden_states, conv.weight, conv.bias, stride=2, padding=2)
        return x[..., 1 : 1 + height, 1 : 1 + width].contiguous(memory_format=torch.channels_last)


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A 1x1 convolution of (B, C, H, W) as a linear layer, in channels_last memory; others as they are."""
    if (conv.kernel_size, conv.stride, conv.padding, conv.groups) != ((1, 1), (1, 1), (0, 0), 1):
        return conv(x)
    x = F.linear(rearrange(x, "b c h w -> b h w c"), conv.weight.flatten(1), conv.bias)
    return rearrange(x, "b h w c -> b c h w")
