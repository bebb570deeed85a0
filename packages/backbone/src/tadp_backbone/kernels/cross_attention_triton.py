"""The Triton kernels of cross-attention with maps, forward and backward.

All keys of a text lie in one tile, so a row's softmax is exact after one look; the forward program owns all heads of
its rows, so their mean is made in registers. Backward computes the probabilities again: first by rows (gradient of the
queries, and two numbers a row), then by keys with those two numbers (gradients of keys and values).
"""

# B batch, N queries, T keys, D channels a head

import triton
import triton.language as tl

from .tiles import load_rows, map_places, product, store_rows


@triton.jit
def attend(
    q, k, v, out, maps, q_strides, k_strides, v_strides, out_strides, maps_strides, log2_scale, N, T, HEADS,
    D: tl.constexpr, DP: tl.constexpr, STEP: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """One program: ROWS queries of one image, all heads. Grid (row blocks, B)."""
    batch = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    keys = tl.arange(0, KEYS)
    total = tl.zeros((ROWS, KEYS), tl.float32)
    for head in range(HEADS):
        q_rows = load_rows(q, q_strides, batch, head, rows, N, D, DP, STEP)
        k_rows = load_rows(k, k_strides, batch, head, keys, T, D, DP, STEP)
        scores = product(q_rows, tl.trans(k_rows)) * log2_scale
        scores = tl.where(keys[None, :] < T, scores, float("-inf"))
        weights = tl.exp2(scores - tl.max(scores, 1)[:, None])
        weights = weights * (1.0 / tl.sum(weights, 1))[:, None]
        total += weights
        v_rows = load_rows(v, v_strides, batch, head, keys, T, D, DP, STEP)
        output = product(weights.to(v_rows.dtype), v_rows)
        store_rows(out, out_strides, batch, head, output, rows, N, D, DP, STEP)
    places, inside = map_places(maps, maps_strides, batch, rows[:, None], keys[None, :], STEP)
    tl.store(places, (total * (1.0 / HEADS)).to(maps.dtype.element_ty), mask=inside & (rows[:, None] < N))


@triton.jit
def row_gradients(
    q, k, v, grad_out, grad_maps, grad_q, normalisers, drifts,
    q_strides, k_strides, v_strides, out_strides, maps_strides, grad_q_strides, scale, log2_scale, N, T, HEADS,
    HAS_MAPS: tl.constexpr, D: tl.constexpr, DP: tl.constexpr,
    STEP: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Gradient of ROWS queries of one head; per row the softmax's log2 normaliser and the sum of weights times their
    gradients ("drift"), (B, heads, N) each. Grid (row blocks, B * heads)."""
    batch, head = (tl.program_id(1) // HEADS).to(tl.int64), tl.program_id(1) % HEADS
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    keys = tl.arange(0, KEYS)
    q_rows = load_rows(q, q_strides, batch, head, rows, N, D, DP, STEP)
    k_rows = load_rows(k, k_strides, batch, head, keys, T, D, DP, STEP)
    scores = product(q_rows, tl.trans(k_rows)) * log2_scale
    scores = tl.where(keys[None, :] < T, scores, float("-inf"))
    top = tl.max(scores, 1)
    weights = tl.exp2(scores - top[:, None])
    normaliser = tl.sum(weights, 1)
    weights = weights * (1.0 / normaliser)[:, None]

    g_rows = load_rows(grad_out, out_strides, batch, head, rows, N, D, DP, STEP)
    v_rows = load_rows(v, v_strides, batch, head, keys, T, D, DP, STEP)
    grad_weights = product(g_rows, tl.trans(v_rows))
    if HAS_MAPS:
        places, inside = map_places(grad_maps, maps_strides, batch, rows[:, None], keys[None, :], STEP)
        given = tl.load(places, mask=inside & (rows[:, None] < N), other=0.0)
        grad_weights += given.to(tl.float32) * (1.0 / HEADS)
    drift = tl.sum(weights * grad_weights, 1)
    grad_scores = weights * (grad_weights - drift[:, None]) * scale
    grad_rows = product(grad_scores.to(k_rows.dtype), k_rows)
    store_rows(grad_q, grad_q_strides, batch, head, grad_rows, rows, N, D, DP, STEP)
    at = tl.program_id(1).to(tl.int64) * N + rows
    tl.store(normalisers + at, top + tl.log2(normaliser), mask=rows < N)
    tl.store(drifts + at, drift, mask=rows < N)


@triton.jit
def key_gradients(
    q, k, v, grad_out, grad_maps, normalisers, drifts, grad_k, grad_v,
    q_strides, k_strides, v_strides, out_strides, maps_strides, grad_strides, scale, log2_scale, N, T, HEADS,
    rows_a_part,
    HAS_MAPS: tl.constexpr, D: tl.constexpr, DP: tl.constexpr,
    STEP: tl.constexpr, ROWS: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """What one part of the rows adds to the gradients of KEYS keys and values of one head.

    grad_k, grad_v: float32 (parts, B, heads, T, D), to be summed over parts: a fixed order, unlike atomic additions.
    Everything is computed transposed, keys by rows. Grid (key blocks, B * heads, parts).
    """
    batch, head = (tl.program_id(1) // HEADS).to(tl.int64), tl.program_id(1) % HEADS
    part = tl.program_id(2).to(tl.int64)
    keys = tl.program_id(0) * KEYS + tl.arange(0, KEYS)
    k_rows = load_rows(k, k_strides, batch, head, keys, T, D, DP, STEP)
    v_rows = load_rows(v, v_strides, batch, head, keys, T, D, DP, STEP)
    sum_k, sum_v = tl.zeros((KEYS, DP), tl.float32), tl.zeros((KEYS, DP), tl.float32)
    first = tl.program_id(2) * rows_a_part
    for start in range(first, tl.minimum(first + rows_a_part, N), ROWS):
        rows = start + tl.arange(0, ROWS)
        at = tl.program_id(1).to(tl.int64) * N + rows
        # +inf makes the weights of rows beyond the last one 0
        normaliser = tl.load(normalisers + at, mask=rows < N, other=float("inf"))
        drift = tl.load(drifts + at, mask=rows < N, other=0.0)
        q_rows = load_rows(q, q_strides, batch, head, rows, N, D, DP, STEP)
        weights = tl.exp2(product(k_rows, tl.trans(q_rows)) * log2_scale - normaliser[None, :])
        g_rows = load_rows(grad_out, out_strides, batch, head, rows, N, D, DP, STEP)
        sum_v += product(weights.to(g_rows.dtype), g_rows)
        grad_weights = product(v_rows, tl.trans(g_rows))
        if HAS_MAPS:
            places, inside = map_places(grad_maps, maps_strides, batch, rows[None, :], keys[:, None], STEP)
            given = tl.load(places, mask=inside & (rows[None, :] < N), other=0.0)
            grad_weights += given.to(tl.float32) * (1.0 / HEADS)
        grad_scores = weights * (grad_weights - drift[None, :]) * scale
        sum_k += product(grad_scores.to(q_rows.dtype), q_rows)
    to = part * (grad_strides[0] * STEP)
    store_rows(grad_k + to, grad_strides[1:], batch, head, sum_k, keys, T, D, DP, STEP)
    store_rows(grad_v + to, grad_strides[1:], batch, head, sum_v, keys, T, D, DP, STEP)
