"""Group normalisation and SiLU in one."""

# B batch, C channels, H W cells, G groups

import torch
import torch.nn.functional as F
from torch import Tensor

from .available import runs_kernels

WIDEST = 4096
"""Channels that the kernel takes at most."""


def group_norm_silu(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    shift: Tensor | None = None,
    activated: bool = True,
) -> Tensor:
    """x (B, C, H, W) -> silu(group_norm(x + shift)), in x's dtype; weight and bias (C,). Sums are float32 at least.

    `shift`: (1, C) or (B, C), such as the bias of the convolution before; None: 0. `activated`: False leaves SiLU out.
    With Triton and without a gradient to compute, x on a CUDA device takes two passes over channels_last memory;
    elsewhere, and in code that torch compiles or exports, `plain_group_norm_silu`.
    """
    if runs_kernels(x, weight, bias, shift) and x.shape[1] <= WIDEST and weight.dtype in (x.dtype, torch.float32):
        from .resnet_launches import launch_group_norm_silu

        return launch_group_norm_silu(x, groups, weight, bias, eps, shift, activated)
    return plain_group_norm_silu(x, groups, weight, bias, eps, shift=shift, activated=activated)


def plain_group_norm_silu(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    *,
    shift: Tensor | None = None,
    activated: bool = True,
) -> Tensor:
    """`group_norm_silu` in torch's own operations, with gradients."""
    shifted = x if shift is None else x + shift[:, :, None, None].to(x.dtype)
    normalised = F.group_norm(shifted, groups, weight, bias, eps)
    return F.silu(normalised) if activated else normalised
