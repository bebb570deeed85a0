"""The Triton kernels of cross-attention with maps, forward and backward.

A program holds its rows' weights for all keys of a text, so a row's softmax is exact after one read; the forward
program owns all heads of its rows, so their mean is made in registers. Backward computes the probabilities again: first
by rows (gradient of the queries, and two numbers per row), then by keys with those two numbers (gradients of keys and
values).

What the tensor cores multiply must fit into registers. Where a head is too large for that, warps divide it in BLOCKS:
by rows its keys (its channels come CHUNK by CHUNK), by keys its channels. T is not specialised: code of its own for
texts of 128 tokens would spill.
"""

# B batch, N queries, T keys, D channels a head

import triton
import triton.language as tl

from .tiles import arange, load_rows, map_places, product, store_rows, sum_blocks, zeros


@triton.jit(do_not_specialize=["T"])
def attend(
    q, k, v, out, maps, q_strides, k_strides, v_strides, out_strides, maps_strides, log2_scale, N, T, HEADS,
    D: tl.constexpr, STEP: tl.constexpr,
    ROWS: tl.constexpr, KEYS: tl.constexpr, BLOCKS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """One program: ROWS queries of one image, all heads. Grid (row blocks, B)."""
    batch = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    keys = arange(BLOCKS, KEYS)
    total = zeros(BLOCKS, ROWS, KEYS)
    for head in range(HEADS):
        scores = rows_by_keys(q, k, q_strides, k_strides, batch, head, rows, keys, N, T, D, STEP, CHUNK)
        scores = tl.where(tl.expand_dims(keys, -2) < T, scores * log2_scale, float("-inf"))
        weights = tl.exp2(scores - largest_by_row(scores)[:, None])
        weights = weights * (1.0 / sum_by_row(weights))[:, None]
        total += weights
        mix_keys(out, weights, v, out_strides, v_strides, batch, head, rows, keys, N, T, D, STEP, CHUNK)
    places, inside = map_places(maps, maps_strides, batch, rows[:, None], tl.expand_dims(keys, -2), STEP)
    tl.store(places, (total * (1.0 / HEADS)).to(maps.dtype.element_ty), mask=inside & (rows[:, None] < N))


@triton.jit(do_not_specialize=["T"])
def row_gradients(
    q, k, v, grad_out, grad_maps, grad_q, normalisers, drifts,
    q_strides, k_strides, v_strides, out_strides, maps_strides, grad_q_strides, scale, log2_scale, N, T, HEADS,
    HAS_MAPS: tl.constexpr, D: tl.constexpr, STEP: tl.constexpr,
    ROWS: tl.constexpr, KEYS: tl.constexpr, BLOCKS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Gradient of ROWS queries of one head; per row the softmax's log2 normaliser and the sum of weights times their
    gradients ("drift"), (B, heads, N) each. Grid (row blocks, B * heads)."""
    batch, head = (tl.program_id(1) // HEADS).to(tl.int64), tl.program_id(1) % HEADS
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    keys = arange(BLOCKS, KEYS)
    scores = rows_by_keys(q, k, q_strides, k_strides, batch, head, rows, keys, N, T, D, STEP, CHUNK)
    scores = tl.where(tl.expand_dims(keys, -2) < T, scores * log2_scale, float("-inf"))
    top = largest_by_row(scores)
    weights = tl.exp2(scores - top[:, None])
    normaliser = sum_by_row(weights)
    weights = weights * (1.0 / normaliser)[:, None]

    grad_weights = rows_by_keys(grad_out, v, out_strides, v_strides, batch, head, rows, keys, N, T, D, STEP, CHUNK)
    if HAS_MAPS:
        places, inside = map_places(grad_maps, maps_strides, batch, rows[:, None], tl.expand_dims(keys, -2), STEP)
        given = tl.load(places, mask=inside & (rows[:, None] < N), other=0.0)
        grad_weights += given.to(tl.float32) * (1.0 / HEADS)
    drift = sum_by_row(weights * grad_weights)
    grad_scores = weights * (grad_weights - drift[:, None]) * scale
    mix_keys(grad_q, grad_scores, k, grad_q_strides, k_strides, batch, head, rows, keys, N, T, D, STEP, CHUNK)
    at = tl.program_id(1).to(tl.int64) * N + rows
    tl.store(normalisers + at, top + tl.log2(normaliser), mask=rows < N)
    tl.store(drifts + at, drift, mask=rows < N)


@triton.jit
def rows_by_keys(
    x, y, x_strides, y_strides, batch, head, rows, keys, N, T,
    D: tl.constexpr, STEP: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Products of rows of x with rows of y at all keys, summed over channels CHUNK by CHUNK."""
    BLOCKS: tl.constexpr = keys.shape[0] if len(keys.shape) == 2 else 1
    tile = zeros(BLOCKS, rows.shape[0], keys.shape[-1])
    for first in range(0, D, CHUNK):
        columns = first + tl.arange(0, CHUNK)
        x_rows = load_rows(x, x_strides, batch, head, rows, columns, N, D, STEP)
        y_rows = load_rows(y, y_strides, batch, head, keys, columns, T, D, STEP)
        tile = product(x_rows, tl.trans(y_rows), tile)
    return tile


@triton.jit
def mix_keys(
    to, weights, y, to_strides, y_strides, batch, head, rows, keys, N, T,
    D: tl.constexpr, STEP: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Writes to rows of `to`: weights times the rows of y at all keys, CHUNK by CHUNK of channels."""
    BLOCKS: tl.constexpr = keys.shape[0] if len(keys.shape) == 2 else 1
    for first in range(0, D, CHUNK):
        columns = first + tl.arange(0, CHUNK)
        y_rows = load_rows(y, y_strides, batch, head, keys, columns, T, D, STEP)
        mixed = sum_blocks(product(weights.to(y_rows.dtype), y_rows, zeros(BLOCKS, rows.shape[0], CHUNK)))
        store_rows(to, to_strides, batch, head, mixed, rows, columns, N, D, STEP)


@triton.jit
def largest_by_row(tile):
    """(rows, keys) -> (rows,), likewise over all blocks of a tile that has them."""
    if len(tile.shape) == 3:
        tile = tl.max(tile, 0)
    return tl.max(tile, 1)


@triton.jit
def sum_by_row(tile):
    """(rows, keys) -> (rows,), likewise over all blocks of a tile that has them."""
    return tl.sum(sum_blocks(tile), 1)


@triton.jit(do_not_specialize=["T"])
def key_gradients(
    q, k, v, grad_out, grad_maps, normalisers, drifts, grad_k, grad_v,
    q_strides, k_strides, v_strides, out_strides, maps_strides, grad_strides, scale, log2_scale, N, T, HEADS,
    rows_a_part,
    HAS_MAPS: tl.constexpr, D: tl.constexpr, STEP: tl.constexpr,
    ROWS: tl.constexpr, KEYS: tl.constexpr, BLOCKS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """What one part of the rows adds to the gradients of KEYS keys and values of one head.

    grad_k, grad_v: float32 (parts, B, heads, T, D), to be summed over parts: a fixed order, unlike atomic additions.
    Everything is computed transposed, keys by rows. Grid (key blocks, B * heads, parts).
    """
    batch, head = (tl.program_id(1) // HEADS).to(tl.int64), tl.program_id(1) % HEADS
    part = tl.program_id(2).to(tl.int64)
    keys = tl.program_id(0) * KEYS + tl.arange(0, KEYS)
    columns = arange(BLOCKS, CHUNK)
    k_rows = load_rows(k, k_strides, batch, head, keys, columns, T, D, STEP)
    v_rows = load_rows(v, v_strides, batch, head, keys, columns, T, D, STEP)
    sum_k, sum_v = zeros(BLOCKS, KEYS, CHUNK), zeros(BLOCKS, KEYS, CHUNK)
    first = tl.program_id(2) * rows_a_part
    for start in range(first, tl.minimum(first + rows_a_part, N), ROWS):
        rows = start + tl.arange(0, ROWS)
        at = tl.program_id(1).to(tl.int64) * N + rows
        # +inf makes the weights of rows beyond the last one 0
        normaliser = tl.load(normalisers + at, mask=rows < N, other=float("inf"))
        drift = tl.load(drifts + at, mask=rows < N, other=0.0)
        q_rows = load_rows(q, q_strides, batch, head, rows, columns, N, D, STEP)
        scores = sum_blocks(product(k_rows, tl.trans(q_rows), zeros(BLOCKS, KEYS, ROWS)))
        weights = tl.exp2(scores * log2_scale - normaliser[None, :])
        g_rows = load_rows(grad_out, out_strides, batch, head, rows, columns, N, D, STEP)
        sum_v = product(weights.to(g_rows.dtype), g_rows, sum_v)
        grad_weights = sum_blocks(product(v_rows, tl.trans(g_rows), zeros(BLOCKS, KEYS, ROWS)))
        if HAS_MAPS:
            places, inside = map_places(grad_maps, maps_strides, batch, rows[None, :], keys[:, None], STEP)
            given = tl.load(places, mask=inside & (rows[None, :] < N), other=0.0)
            grad_weights += given.to(tl.float32) * (1.0 / HEADS)
        grad_scores = weights * (grad_weights - drift[None, :]) * scale
        sum_k = product(grad_scores.to(q_rows.dtype), q_rows, sum_k)
    to = part * (grad_strides[0] * STEP)
    store_rows(grad_k + to, grad_strides[1:], batch, head, sum_k, keys, columns, T, D, STEP)
    store_rows(grad_v + to, grad_strides[1:], batch, head, sum_v, keys, columns, T, D, STEP)
