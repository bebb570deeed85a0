"""Launches of the kernels between a resnet block's convolutions: norm and SiLU, and the sum at its end."""

# B batch, P cells (H W), C channels, G groups

import torch
import triton
from torch import Tensor

from .resnet_triton import activate, add_in_place, channel_moments, group_moments
from .tiles import Launch

ROWS, CHANNELS, WARPS = 32, 64, 4
"""Cells and channels of a tile: 64 half-precision channels are one line of the cache."""

LEAST_ROWS, MOST_PARTS = 256, 256
"""Cells that one program sums over at least, a multiple of ROWS, and parts at most: one program merges them all."""


def launch_group_norm_silu(
    x: Tensor, groups: int, weight: Tensor, bias: Tensor, eps: float, shift: Tensor | None, activated: bool
) -> Tensor:
    """As `group_norm_silu`, of channels_last x, without gradients."""
    y = torch.empty_like(x, memory_format=torch.channels_last)
    for launch in norm_launches(x, groups, weight, bias, eps, shift, activated, y):
        launch.run()
    return y


def launch_add_residual(x: Tensor, residual: Tensor, bias: Tensor) -> Tensor:
    """x, to which the residual, like it in channels_last memory, and the bias (C,) are added in place."""
    add_launch(x, residual, bias).run()
    return x


def norm_launches(
    x: Tensor,
    groups: int,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    shift: Tensor | None,
    activated: bool,
    y: Tensor,
) -> list[Launch]:
    """Moments of channels, moments of groups, output; fills `y` (like x)."""
    batch, channels, cells = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    means, rates = (x.new_empty(batch, groups, dtype=torch.float32) for _ in range(2))
    rows = LEAST_ROWS * triton.cdiv(cells, LEAST_ROWS * MOST_PARTS)
    parts = triton.cdiv(cells, rows)
    part_means, part_deviations = (x.new_empty(batch, parts, channels, dtype=torch.float32) for _ in range(2))
    weight, bias = weight.contiguous(), bias.contiguous()
    given = weight if shift is None else shift.contiguous()  # not read where SHIFTED is false
    shared = 0 if shift is None or len(shift) == 1 else channels  # from one image's shift to the next's
    blocks = triton.cdiv(channels, CHANNELS)
    tile = {"ROWS": ROWS, "CHANNELS": CHANNELS, "num_warps": WARPS}
    return [
        Launch(
            kernel=channel_moments,
            grid=(parts, blocks, batch),
            arguments=(x, part_means, part_deviations, cells, channels, rows),
            constants=tile,
        ),
        Launch(
            kernel=group_moments,
            grid=(groups, batch),
            arguments=(
                *(part_means, part_deviations, given, means, rates),
                *(cells, channels, groups, parts, rows, shared, eps),
            ),
            constants={
                "SHIFTED": shift is not None,
                "PARTS": triton.next_power_of_2(parts),
                "MEMBERS": triton.next_power_of_2(channels // groups),
                "num_warps": WARPS,
            },
        ),
        Launch(
            kernel=activate,
            grid=(triton.cdiv(cells, ROWS), blocks, batch),
            arguments=(x, given, weight, bias, means, rates, y, cells, channels, groups, shared),
            constants={"SHIFTED": shift is not None, "ACTIVATED": activated, **tile},
        ),
    ]


def add_launch(x: Tensor, residual: Tensor, bias: Tensor) -> Launch:
    """Adds the residual and the bias to `x`."""
    batch, channels, cells = x.shape[0], x.shape[1], x.shape[2] * x.shape[3]
    return Launch(
        kernel=add_in_place,
        grid=(triton.cdiv(cells, ROWS), triton.cdiv(channels, CHANNELS), batch),
        arguments=(x, residual, bias.contiguous(), cells, channels),
        constants={"ROWS": ROWS, "CHANNELS": CHANNELS, "num_warps": WARPS},
    )
