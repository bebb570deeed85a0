"""Group normalisation and SiLU in one."""

# B batch, C channels, H W cells, G groups

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .available import HAS_TRITON

WIDEST = 4096
"""Channels that the kernel takes at most."""


def group_norm_silu(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """x (B, C, H, W) -> silu(group_norm(x)), in x's dtype; weight and bias (C,). Sums are float32 at least.

    On a CUDA device with Triton two passes over x in channels_last memory; elsewhere `plain_group_norm_silu`.
    """
    if HAS_TRITON and x.is_cuda and fits_kernel(x, weight):
        from .group_norm_silu_op import group_norm_silu_op

        return group_norm_silu_op(x, groups, weight, bias, eps)[0]
    return plain_group_norm_silu(x, groups, weight, bias, eps)


def fits_kernel(x: Tensor, weight: Tensor) -> bool:
    """Whether the kernel takes these sizes, types and this order of memory."""
    return (
        x.ndim == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and x.shape[1] <= WIDEST
        and x.dtype in (torch.float16, torch.bfloat16, torch.float32)
        and weight.dtype in (x.dtype, torch.float32)
    )


def plain_group_norm_silu(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """`group_norm_silu` in torch's own operations."""
    return F.silu(F.group_norm(x, groups, weight, bias, eps))


class GroupNormSiLU(nn.GroupNorm):
    """Normalises and activates; parameters and their names are those of `nn.GroupNorm`."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return group_norm_silu(x, self.num_groups, self.weight, self.bias, self.eps)


class SiLULinear(nn.Linear):
    """Activates its input first; parameters and their names are those of `nn.Linear`."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)"""
        return super().forward(F.silu(x))
