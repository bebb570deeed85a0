"""GroupNorm and SiLU as one operator of torch: shapes for tracing, gradients, launches."""

# B batch, P cells (H W), C channels, G groups

from typing import Any

import torch
import triton
from einops import reduce
from torch import Tensor

from .group_norm_silu_triton import activate, channel_moments, gradient_sums, group_moments, input_gradients
from .tiles import Launch

ROWS, CHANNELS, WARPS = 32, 64, 4
"""Cells and channels of a tile: 64 half-precision channels are one line of the cache."""

ROWS_A_PART = 256
"""Cells that one program sums over."""


@torch.library.custom_op("tadp::group_norm_silu", mutates_args=())
def group_norm_silu_op(
    x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As `group_norm_silu` for channels_last x; then mean and 1 / standard deviation (B, G), kept for backward."""
    y, means, rates = _empty_results(x, groups)
    for launch in forward_launches(x, groups, weight, bias, eps, y, means, rates):
        launch.run()
    return y, means, rates


@group_norm_silu_op.register_fake
def _(x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_results(x, groups)


@torch.library.custom_op("tadp::group_norm_silu_backward", mutates_args=())
def backward_op(
    x: Tensor, weight: Tensor, bias: Tensor, means: Tensor, rates: Tensor, grad_y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, weight and bias."""
    grad_y = grad_y.contiguous(memory_format=torch.channels_last)
    sums, weighted = (_per_part(x) for _ in range(2))
    sums_launch(x, weight, bias, means, rates, grad_y, sums, weighted).run()
    sums, weighted = sums.sum(1), weighted.sum(1)  # (B, C)
    cells = x.shape[2] * x.shape[3]
    factor = weight.float() / cells
    group_sums, group_weighted = (
        reduce(total * factor, "b (g members) -> b g", "mean", g=means.shape[1]) for total in (sums, weighted)
    )
    grad_x = torch.empty_like(x, memory_format=torch.channels_last)
    input_launch(x, weight, bias, means, rates, grad_y, group_sums, group_weighted, grad_x).run()
    return grad_x, weighted.sum(0).to(weight.dtype), sums.sum(0).to(bias.dtype)


@backward_op.register_fake
def _(
    x: Tensor, weight: Tensor, bias: Tensor, means: Tensor, rates: Tensor, grad_y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grad_x = torch.empty_like(x, memory_format=torch.channels_last)
    return grad_x, weight.new_empty(weight.shape), bias.new_empty(bias.shape)


def _keep(ctx: Any, inputs: tuple, output: tuple) -> None:
    x, _, weight, bias, _ = inputs
    ctx.save_for_backward(x, weight, bias, *output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_y: Tensor, _means: None, _rates: None) -> tuple[Tensor | None, ...]:
    grad_x, grad_weight, grad_bias = backward_op(*ctx.saved_tensors, grad_y)
    return grad_x, None, grad_weight, grad_bias, None


group_norm_silu_op.register_autograd(_backward, setup_context=_keep)


def forward_launches(
    x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float, y: Tensor, means: Tensor, rates: Tensor
) -> list[Launch]:
    """Moments of channels, moments of groups, output; fills `y` (like x), `means` and `rates` (B, G)."""
    batch, channels, cells = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    part_means, part_deviations = (_per_part(x) for _ in range(2))
    parts = part_means.shape[1]
    blocks = triton.cdiv(channels, CHANNELS)
    tile = {"ROWS": ROWS, "CHANNELS": CHANNELS, "num_warps": WARPS}
    return [
        Launch(
            kernel=channel_moments,
            grid=(parts, blocks, batch),
            arguments=(x, part_means, part_deviations, cells, channels, ROWS_A_PART),
            constants=tile,
        ),
        Launch(
            kernel=group_moments,
            grid=(groups, batch),
            arguments=(
                *(part_means, part_deviations, means, rates),
                *(cells, channels, groups, parts, ROWS_A_PART, eps),
            ),
            constants={
                "PARTS": triton.next_power_of_2(parts),
                "MEMBERS": triton.next_power_of_2(channels // groups),
                "num_warps": WARPS,
            },
        ),
        Launch(
            kernel=activate,
            grid=(triton.cdiv(cells, ROWS), blocks, batch),
            arguments=(x, weight, bias, means, rates, y, cells, channels, groups),
            constants=tile,
        ),
    ]


def sums_launch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    means: Tensor,
    rates: Tensor,
    grad_y: Tensor,
    sums: Tensor,
    weighted: Tensor,
) -> Launch:
    """First half of backward: fills `sums` and `weighted` (B, parts, C)."""
    batch, channels, cells = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    return Launch(
        kernel=gradient_sums,
        grid=(sums.shape[1], triton.cdiv(channels, CHANNELS), batch),
        arguments=(
            *(x, weight, bias, means, rates, grad_y, sums, weighted),
            *(cells, channels, means.shape[1], ROWS_A_PART),
        ),
        constants={"ROWS": ROWS, "CHANNELS": CHANNELS, "num_warps": WARPS},
    )


def input_launch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    means: Tensor,
    rates: Tensor,
    grad_y: Tensor,
    group_sums: Tensor,
    group_weighted: Tensor,
    grad_x: Tensor,
) -> Launch:
    """Second half of backward: fills `grad_x`."""
    batch, channels, cells = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    return Launch(
        kernel=input_gradients,
        grid=(triton.cdiv(cells, ROWS), triton.cdiv(channels, CHANNELS), batch),
        arguments=(
            *(x, weight, bias, means, rates, grad_y, group_sums, group_weighted, grad_x),
            *(cells, channels, means.shape[1]),
        ),
        constants={"ROWS": ROWS, "CHANNELS": CHANNELS, "num_warps": WARPS},
    )


def _empty_results(x: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
    means, rates = (x.new_empty(x.shape[0], groups, dtype=torch.float32) for _ in range(2))
    return torch.empty_like(x, memory_format=torch.channels_last), means, rates


def _per_part(x: Tensor) -> Tensor:
    """Memory for one float32 number per image, part of its cells and channel."""
    parts = triton.cdiv(x.shape[2] * x.shape[3], ROWS_A_PART)
    return x.new_empty(x.shape[0], parts, x.shape[1], dtype=torch.float32)
