"""The Triton kernels between a resnet block's convolutions, over channels_last memory, forward.

A group's few channels are scattered over memory in this order, so programs read whole stretches of channels of some
rows, and sums meet per channel in float32 before they meet per group.
"""

# B batch, P cells (H W), C channels, G groups; memory is (B, P, C)

import triton
import triton.language as tl


@triton.jit
def block_of(P, C, ROWS: tl.constexpr, CHANNELS: tl.constexpr, start):
    """Places of ROWS cells from `start` on and this program's CHANNELS, (ROWS, CHANNELS), and which of them exist."""
    rows = (start + tl.arange(0, ROWS)).to(tl.int64)  # cells times channels of a large image pass 2 ** 31
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    image = tl.program_id(2).to(tl.int64) * P * C
    inside = (rows[:, None] < P) & (channels[None, :] < C)
    return image + rows[:, None] * C + channels[None, :], inside, channels


@triton.jit
def channel_moments(
    x, means, deviations, P, C, rows_a_part, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):  # fmt: skip
    """Mean and sum of squared deviations of each channel over one part of the cells, (B, parts, C) each.

    Merged by Chan's formula: a plain sum of squares would lose the digits of a large mean. Grid (parts, C blocks, B).
    """
    first = tl.program_id(0) * rows_a_part
    last = tl.minimum(first + rows_a_part, P)
    mean, deviation = tl.zeros((CHANNELS,), tl.float32), tl.zeros((CHANNELS,), tl.float32)
    for start in range(first, last, ROWS):
        places, inside, channels = block_of(P, C, ROWS, CHANNELS, start)
        values = tl.load(x + places, mask=inside, other=0.0).to(tl.float32)
        count = tl.minimum(last - start, ROWS).to(tl.float32)
        new_mean = tl.sum(values, 0) / count
        spread = tl.where(inside, values - new_mean[None, :], 0.0)
        seen = (start - first).to(tl.float32)
        step = new_mean - mean
        mean += step * (count / (seen + count))
        deviation += tl.sum(spread * spread, 0) + step * step * (seen * count / (seen + count))
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    at = (tl.program_id(2) * tl.num_programs(0) + tl.program_id(0)) * C + channels
    tl.store(means + at, mean, mask=channels < C)
    tl.store(deviations + at, deviation, mask=channels < C)


@triton.jit
def group_moments(
    means, deviations, shift, group_means, group_rates, P, C, G, parts, rows_a_part, shift_step, eps,
    SHIFTED: tl.constexpr, PARTS: tl.constexpr, MEMBERS: tl.constexpr,
):  # fmt: skip
    """Mean and 1 / standard deviation of a group of x + shift, (B, G) each, from its channels' parts. Grid (G, B)."""
    part = tl.arange(0, PARTS)[:, None]
    member = tl.arange(0, MEMBERS)[None, :]
    inside = (part < parts) & (member < C // G)
    channel = tl.program_id(0) * (C // G) + member
    at = (tl.program_id(1) * parts + part) * C + channel
    count = tl.where(inside, tl.minimum(P - part * rows_a_part, rows_a_part), 0).to(tl.float32)
    total = 1.0 * P * (C // G)  # a product, not P.to: an argument of 1 is compiled in as a plain number
    mean = tl.load(means + at, mask=inside, other=0.0)
    if SHIFTED:  # moves a channel's mean, and leaves its deviations
        mean += tl.load(shift + tl.program_id(1) * shift_step + channel, mask=member < C // G, other=0.0).to(tl.float32)
    group_mean = tl.sum(tl.sum(mean * count, 1), 0) / total
    away = mean - group_mean
    squares = tl.load(deviations + at, mask=inside, other=0.0) + count * away * away
    variance = tl.sum(tl.sum(squares, 1), 0) / total
    group = tl.program_id(1) * G + tl.program_id(0)
    tl.store(group_means + group, group_mean)
    tl.store(group_rates + group, 1.0 / tl.sqrt(variance + eps))


@triton.jit
def activate(
    x, shift, weight, bias, group_means, group_rates, y, P, C, G, shift_step,
    SHIFTED: tl.constexpr, ACTIVATED: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """y = silu(normalised (x + shift) * weight + bias), or what SiLU would be given. Grid (row blocks, C blocks, B)."""
    places, inside, channels = block_of(P, C, ROWS, CHANNELS, tl.program_id(0) * ROWS)
    there = channels < C
    group = tl.program_id(2) * G + channels // (C // G)
    mean = tl.load(group_means + group, mask=there, other=0.0)
    if SHIFTED:
        mean -= tl.load(shift + tl.program_id(2) * shift_step + channels, mask=there, other=0.0).to(tl.float32)
    factor = tl.load(weight + channels, mask=there, other=0.0).to(tl.float32)
    factor *= tl.load(group_rates + group, mask=there, other=0.0)
    offset = tl.load(bias + channels, mask=there, other=0.0).to(tl.float32)
    away = tl.load(x + places, mask=inside, other=0.0).to(tl.float32) - mean[None, :]
    result = tl.where(inside, away * factor[None, :] + offset[None, :], 0.0)
    if ACTIVATED:
        result *= tl.sigmoid(result)
    tl.store(y + places, result.to(y.dtype.element_ty), mask=inside)


@triton.jit
def add_in_place(x, residual, bias, P, C, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """x + residual + bias, summed in float32, into x. Grid (row blocks, C blocks, B)."""
    places, inside, channels = block_of(P, C, ROWS, CHANNELS, tl.program_id(0) * ROWS)
    added = tl.load(bias + channels, mask=channels < C, other=0.0).to(tl.float32)[None, :]
    result = tl.load(x + places, mask=inside, other=0.0).to(tl.float32) + added
    result += tl.load(residual + places, mask=inside, other=0.0).to(tl.float32)
    tl.store(x + places, result.to(x.dtype.element_ty), mask=inside)
