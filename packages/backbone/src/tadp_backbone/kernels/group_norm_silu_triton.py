"""The Triton kernels of GroupNorm and SiLU over channels_last memory, forward and backward.

A group's few channels are scattered over memory in this order, so programs read whole stretches of channels of some
rows, and sums meet per channel in float32 before they meet per group.
"""

# B batch, P cells (H W), C channels, G groups; memory is (B, P, C)

import triton
import triton.language as tl


@triton.jit
def block_of(P, C, ROWS: tl.constexpr, CHANNELS: tl.constexpr, start):
    """Places of ROWS cells from `start` on and this program's CHANNELS, (ROWS, CHANNELS), and which of them exist."""
    rows = start + tl.arange(0, ROWS)
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
    means, deviations, group_means, group_rates, P, C, G, parts, rows_a_part, eps,
    PARTS: tl.constexpr, MEMBERS: tl.constexpr,
):  # fmt: skip
    """Mean and 1 / standard deviation of a group, (B, G) each, from its channels' parts. Grid (G, B)."""
    part = tl.arange(0, PARTS)[:, None]
    member = tl.arange(0, MEMBERS)[None, :]
    inside = (part < parts) & (member < C // G)
    at = (tl.program_id(1) * parts + part) * C + tl.program_id(0) * (C // G) + member
    count = tl.where(inside, tl.minimum(P - part * rows_a_part, rows_a_part), 0).to(tl.float32)
    total = 1.0 * P * (C // G)  # a product, not P.to: an argument of 1 is compiled in as a plain number
    mean = tl.load(means + at, mask=inside, other=0.0)
    group_mean = tl.sum(tl.sum(mean * count, 1), 0) / total
    away = mean - group_mean
    squares = tl.load(deviations + at, mask=inside, other=0.0) + count * away * away
    variance = tl.sum(tl.sum(squares, 1), 0) / total
    group = tl.program_id(1) * G + tl.program_id(0)
    tl.store(group_means + group, group_mean)
    tl.store(group_rates + group, 1.0 / tl.sqrt(variance + eps))


@triton.jit
def normalised(x, group_means, group_rates, places, inside, channels, C, G):
    """((x - mean) / standard deviation (ROWS, CHANNELS), 1 / standard deviation (1, CHANNELS)) in float32."""
    group = tl.program_id(2) * G + channels // (C // G)
    mean = tl.load(group_means + group, mask=channels < C, other=0.0)[None, :]
    rate = tl.load(group_rates + group, mask=channels < C, other=0.0)[None, :]
    away = tl.load(x + places, mask=inside, other=0.0).to(tl.float32) - mean
    return tl.where(inside, away * rate, 0.0), rate


@triton.jit
def scaled(normal, weight, bias, channels, C):
    """(weight (1, CHANNELS), normal * weight + bias) in float32."""
    factor = tl.load(weight + channels, mask=channels < C, other=0.0).to(tl.float32)[None, :]
    shift = tl.load(bias + channels, mask=channels < C, other=0.0).to(tl.float32)[None, :]
    return factor, normal * factor + shift


@triton.jit
def activate(
    x, weight, bias, group_means, group_rates, y, P, C, G, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):  # fmt: skip
    """y = silu(normalised x * weight + bias). Grid (row blocks, C blocks, B)."""
    places, inside, channels = block_of(P, C, ROWS, CHANNELS, tl.program_id(0) * ROWS)
    normal, _ = normalised(x, group_means, group_rates, places, inside, channels, C, G)
    _, before = scaled(normal, weight, bias, channels, C)
    tl.store(y + places, (before * tl.sigmoid(before)).to(y.dtype.element_ty), mask=inside)


@triton.jit
def before_gradient(before, grad_y, places, inside):
    """Gradient of what goes into SiLU: d/dz z sigmoid(z) = s + z s (1 - s)."""
    given = tl.load(grad_y + places, mask=inside, other=0.0).to(tl.float32)
    gate = tl.sigmoid(before)
    return given * (gate + before * gate * (1.0 - gate))


@triton.jit
def gradient_sums(
    x, weight, bias, group_means, group_rates, grad_y, sums, weighted, P, C, G, rows_a_part,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Per channel and part: the sum of SiLU's input gradients, and of those times normalised x; (B, parts, C) each.

    Grid (parts, C blocks, B).
    """
    first = tl.program_id(0) * rows_a_part
    total, product = tl.zeros((CHANNELS,), tl.float32), tl.zeros((CHANNELS,), tl.float32)
    for start in range(first, tl.minimum(first + rows_a_part, P), ROWS):
        places, inside, channels = block_of(P, C, ROWS, CHANNELS, start)
        normal, _ = normalised(x, group_means, group_rates, places, inside, channels, C, G)
        _, before = scaled(normal, weight, bias, channels, C)
        gradient = before_gradient(before, grad_y, places, inside)
        total += tl.sum(gradient, 0)
        product += tl.sum(gradient * normal, 0)
    channels = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    at = (tl.program_id(2) * tl.num_programs(0) + tl.program_id(0)) * C + channels
    tl.store(sums + at, total, mask=channels < C)
    tl.store(weighted + at, product, mask=channels < C)


@triton.jit
def input_gradients(
    x, weight, bias, group_means, group_rates, grad_y, group_sums, group_weighted, grad_x, P, C, G,
    ROWS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """grad_x; group_sums, group_weighted (B, G): group means of `gradient_sums`, times weight. Grid as `activate`."""
    places, inside, channels = block_of(P, C, ROWS, CHANNELS, tl.program_id(0) * ROWS)
    normal, rate = normalised(x, group_means, group_rates, places, inside, channels, C, G)
    factor, before = scaled(normal, weight, bias, channels, C)
    gradient = before_gradient(before, grad_y, places, inside) * factor
    group = tl.program_id(2) * G + channels // (C // G)
    drift = tl.load(group_sums + group, mask=channels < C, other=0.0)[None, :]
    lean = tl.load(group_weighted + group, mask=channels < C, other=0.0)[None, :]
    tl.store(grad_x + places, (rate * (gradient - drift - normal * lean)).to(grad_x.dtype.element_ty), mask=inside)
