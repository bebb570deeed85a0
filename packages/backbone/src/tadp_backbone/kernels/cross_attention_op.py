"""Cross-attention with maps as an operator of torch: shapes for tracing, gradients, launches."""

# B batch, N queries, T keys, D channels a head

import math
from typing import Any

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from .available import needs_gradient
from .cross_attention_triton import attend, key_gradients, row_gradients
from .tiles import STEP, Launch, aligned, in_steps

ROWS_A_PART = 512
"""Rows that one program of `key_gradients` sums over: enough parts to fill the GPU at 64 x 64 cells, one at 16 x 16."""


def cross_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """As `cross_attention_with_maps`, for what its file's `fits_kernel` takes.

    torch's dispatcher costs host time at each call: it is asked only where it traces or differentiates.
    """
    dispatched = needs_gradient(q, k, v) or torch.compiler.is_compiling()
    return (cross_attention_op if dispatched else _attend)(q, k, v, scale)


def _attend(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    out, maps = empty_results(q, k)
    attend_launch(aligned(q), aligned(k), aligned(v), out, maps, scale).run()
    return out, maps


@torch.library.custom_op("tadp::cross_attention_with_maps", mutates_args=())
def cross_attention_op(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """`cross_attention` as an operator of torch."""
    return _attend(q, k, v, scale)


@cross_attention_op.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    return empty_results(q, k)


@torch.library.custom_op("tadp::cross_attention_with_maps_backward", mutates_args=())
def backward_op(
    q: Tensor, k: Tensor, v: Tensor, grad_out: Tensor, grad_maps: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of q, k and v; `grad_maps` None: nobody asked for a gradient through the maps."""
    q, k, v, grad_out = aligned(q), aligned(k), aligned(v), aligned(grad_out)
    grad_maps = None if grad_maps is None else F.pad(grad_maps, (0, -k.shape[2] % STEP)).contiguous()
    grad_q = _empty_like_queries(q)
    normalisers, drifts = (q.new_empty(q.shape[:3], dtype=torch.float32) for _ in range(2))
    parts = triton.cdiv(q.shape[2], ROWS_A_PART)
    grad_k, grad_v = (q.new_empty(parts, *k.shape, dtype=torch.float32) for _ in range(2))
    row_launch(q, k, v, grad_out, grad_maps, grad_q, normalisers, drifts, scale).run()
    key_launch(q, k, v, grad_out, grad_maps, normalisers, drifts, grad_k, grad_v, scale).run()
    return grad_q, grad_k.sum(0).to(k.dtype), grad_v.sum(0).to(v.dtype)


@backward_op.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, grad_out: Tensor, grad_maps: Tensor | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _empty_like_queries(q), k.new_empty(k.shape), v.new_empty(v.shape)


def _keep(ctx: Any, inputs: tuple, output: tuple) -> None:
    q, k, v, ctx.scale = inputs
    ctx.save_for_backward(q, k, v)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_out: Tensor | None, grad_maps: Tensor | None) -> tuple[Tensor, Tensor, Tensor, None]:
    q, k, v = ctx.saved_tensors
    if grad_out is None:  # only the maps were used
        grad_out = torch.zeros_like(q)
    return *backward_op(q, k, v, grad_out, grad_maps, ctx.scale), None


cross_attention_op.register_autograd(_backward, setup_context=_keep)


def attend_launch(q: Tensor, k: Tensor, v: Tensor, out: Tensor, maps: Tensor, scale: float) -> Launch:
    """Forward: fills `out` and `maps`."""
    batch, heads, cells, width = q.shape
    tiles = _row_tiles(q, k)
    return Launch(
        kernel=attend,
        grid=(triton.cdiv(cells, tiles["ROWS"]), batch),
        arguments=(
            *(q, k, v, out, maps),
            *map(in_steps, (q, k, v, out, maps)),
            *(scale * math.log2(math.e), cells, k.shape[2], heads),
        ),
        constants=dict(D=width, STEP=STEP, num_stages=2, **tiles),
    )


def row_launch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grad_out: Tensor,
    grad_maps: Tensor | None,
    grad_q: Tensor,
    normalisers: Tensor,
    drifts: Tensor,
    scale: float,
) -> Launch:
    """First half of backward: fills `grad_q`, and (B, heads, N) of what the second half needs."""
    batch, heads, cells, width = q.shape
    tiles = _row_tiles(q, k)
    given = grad_out if grad_maps is None else grad_maps  # not read where HAS_MAPS is false
    return Launch(
        kernel=row_gradients,
        grid=(triton.cdiv(cells, tiles["ROWS"]), batch * heads),
        arguments=(
            *(q, k, v, grad_out, given, grad_q, normalisers, drifts),
            *map(in_steps, (q, k, v, grad_out, given, grad_q)),
            *(scale, scale * math.log2(math.e), cells, k.shape[2], heads),
        ),
        constants=dict(HAS_MAPS=grad_maps is not None, D=width, STEP=STEP, num_stages=1, **tiles),
    )


def key_launch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    grad_out: Tensor,
    grad_maps: Tensor | None,
    normalisers: Tensor,
    drifts: Tensor,
    grad_k: Tensor,
    grad_v: Tensor,
    scale: float,
) -> Launch:
    """Second half of backward: fills `grad_k` and `grad_v` (parts, B, heads, T, D)."""
    batch, heads, cells, width = q.shape
    tiles = _key_tiles(q)
    given = grad_out if grad_maps is None else grad_maps  # not read where HAS_MAPS is false
    return Launch(
        kernel=key_gradients,
        grid=(triton.cdiv(k.shape[2], tiles["KEYS"]), batch * heads, len(grad_k)),
        arguments=(
            *(q, k, v, grad_out, given, normalisers, drifts, grad_k, grad_v),
            *map(in_steps, (q, k, v, grad_out, given, grad_k)),
            *(scale, scale * math.log2(math.e), cells, k.shape[2], heads, ROWS_A_PART),
        ),
        constants=dict(HAS_MAPS=grad_maps is not None, D=width, STEP=STEP, num_stages=1, **tiles),
    )


def empty_results(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Memory for output and maps; a row of maps begins at a multiple of STEP numbers."""
    tokens = k.shape[2]
    maps = q.new_empty(q.shape[0], q.shape[2], tokens + -tokens % STEP)
    return _empty_like_queries(q), maps[..., :tokens]


def _empty_like_queries(q: Tensor) -> Tensor:
    """Memory for something of q's shape in which the fold of heads into channels that follows is no copy."""
    batch, heads, cells, width = q.shape
    return q.new_empty(batch, cells, heads, width).transpose(1, 2)


def _row_tiles(q: Tensor, k: Tensor) -> dict[str, int]:
    """Tiles and warps of a program that has all keys: what fits into registers, as tests check.

    That is one tile of all keys and channels; of large heads blocks of 16 keys, one a warp.
    """
    keys, width = _padded(k.shape[2], 32), _padded(k.shape[3], 64)  # of smaller tiles warps would hold copies
    single = q.dtype == torch.float32  # its products take three parts of each number
    if (keys > 128 or width > 64) if single else (keys > 128 and width > 128):
        warps, side = max(4, keys // 16), 32 if keys <= 128 else 16
        return {"ROWS": side, "KEYS": 16, "BLOCKS": warps, "CHUNK": side, "num_warps": warps}
    narrow = width <= (128 if keys <= 128 else 64)
    rows = 32 if narrow and not single else 16
    limit = {"maxnreg": 255} if k.shape[3] == 8 else {}  # left alone, ptxas gives 64 or 128 and spills a few bytes
    return {"ROWS": rows, "KEYS": keys, "BLOCKS": 1, "CHUNK": width, "num_warps": 8, **limit}


def _key_tiles(q: Tensor) -> dict[str, int]:
    """Tiles and warps of a program that loops over rows and has all channels, in blocks where one tile would spill."""
    width, single = _padded(q.shape[-1], 16), q.dtype == torch.float32
    if single and width > 64:
        return {"ROWS": 16, "KEYS": 16, "BLOCKS": 8, "CHUNK": width // 8, "num_warps": 8}
    tile = 16 if single else 32
    return {"ROWS": tile, "KEYS": tile, "BLOCKS": 1, "CHUNK": width, "num_warps": 4 if width <= 128 else 8}


def _padded(size: int, least: int) -> int:
    """The side of a tile: Triton's are powers of two."""
    return max(least, triton.next_power_of_2(size))
