"""Group normalisation and SiLU in one."""

# B batch, C channels, H W cells, G groups

import torch
import torch.nn.functional as F
from torch import Tensor

from .available import HAS_TRITON

WIDEST = 4096
"""Channels that the kernel takes at most."""
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


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


def runs_kernels(x: Tensor, *others: Tensor | None) -> bool:
    """Whether kernels over channels_last memory take x (B, C, H, W) here.

    Not where x or one of the others needs a gradient: each further operation of a backward pass costs a launch, and a
    training step of two images took longer with kernels than without (H100). Not in code that torch compiles or
    exports: it fuses by itself. Other tracers see launches, which they cannot record.
    """
    return (
        HAS_TRITON
        and x.is_cuda
        and not needs_gradient(x, *others)
        and not torch.compiler.is_compiling()
        and x.dtype in DTYPES
        and x.ndim == 4
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether a backward pass would go through one of them."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


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
