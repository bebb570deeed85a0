"""Pieces that the kernels share: launches, and tiles of what lies in memory head by head.

A tile is (rows, columns). In several blocks it is (BLOCKS, rows, columns), of which Triton gives each warp its own: a
warp then holds its block's part of an operand instead of the whole.
"""

# D channels a head

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import triton
import triton.language as tl
from torch import Tensor

STEP = 8
"""Strides are handed over in units of this many numbers: the compiler then knows that 16 bytes can be read at once."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One start of a kernel, kept apart from starting it: what is launched can be compiled where no GPU is."""

    kernel: triton.JITFunction
    grid: tuple[int, ...]
    arguments: tuple
    constants: Mapping[str, object] = field(default_factory=dict)
    """The kernel's constexpr arguments, num_warps and num_stages."""

    def run(self) -> None:
        """Start it on the current stream of the device that the first argument lies on."""
        with torch.cuda.device_of(self.arguments[0]):  # Triton would take the current device
            # Fused multiply-add is what every GPU library uses; Triton asks that it be said.
            self.kernel[self.grid](*self.arguments, **self.constants, enable_fp_fusion=True)


def in_steps(x: Tensor) -> tuple[int, ...]:
    """Strides of x but the last (1), in units of STEP."""
    return tuple(stride // STEP for stride in x.stride()[:-1])


def aligned(x: Tensor) -> Tensor:
    """x itself where rows begin at multiples of STEP numbers and are contiguous, else a copy of it."""
    fits = x.stride(-1) == 1 and all(stride % STEP == 0 for stride in x.stride()[:-1])
    return x if fits and x.data_ptr() % 16 == 0 else x.contiguous()


@triton.jit
def arange(BLOCKS: tl.constexpr, SIZE: tl.constexpr):
    """0 .. BLOCKS * SIZE - 1: (SIZE,) in one block, (BLOCKS, SIZE) in several."""
    numbers = tl.arange(0, BLOCKS * SIZE)
    return numbers if BLOCKS == 1 else tl.reshape(numbers, (BLOCKS, SIZE))


@triton.jit
def load_rows(x, strides, batch, head, rows, columns, limit, D: tl.constexpr, STEP: tl.constexpr):
    """Rows of one head of x (B, heads, limit, D) as a tile (rows, columns), in blocks where `rows` or `columns` are; 0
    outside of x."""
    rows, columns = tl.expand_dims(rows, -1), tl.expand_dims(columns, -2)
    base = x + batch * (strides[0] * STEP) + head * (strides[1] * STEP)
    places = base + rows * (strides[2] * STEP) + columns
    return tl.load(places, mask=(rows < limit) & (columns < D), other=0.0)


@triton.jit
def store_rows(x, strides, batch, head, tile, rows, columns, limit, D: tl.constexpr, STEP: tl.constexpr):
    """The opposite of `load_rows`, cast to x's type."""
    rows, columns = tl.expand_dims(rows, -1), tl.expand_dims(columns, -2)
    base = x + batch * (strides[0] * STEP) + head * (strides[1] * STEP)
    places = base + rows * (strides[2] * STEP) + columns
    tl.store(places, tile.to(x.dtype.element_ty), mask=(rows < limit) & (columns < D))


@triton.jit
def map_places(maps, strides, batch, rows, keys, STEP: tl.constexpr):
    """Pointers into maps (B, N, keys up to a multiple of STEP), and whether they lie inside a row."""
    width = strides[1] * STEP
    return maps + batch * (strides[0] * STEP) + rows * width + keys, keys < width


@triton.jit
def zeros(BLOCKS: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """A tile of float32 zeros: (ROWS, COLUMNS) in one block, (BLOCKS, ROWS, COLUMNS) in several."""
    return tl.zeros((ROWS, COLUMNS) if BLOCKS == 1 else (BLOCKS, ROWS, COLUMNS), tl.float32)


@triton.jit
def product(left, right, onto):
    """onto + left right in float32, block by block; an input without blocks is the same in all of them.

    "tf32x3": float32 inputs go through the tensor cores in three parts, which keeps their digits; "ieee" would keep
    them too, but spills hundreds of registers.
    """
    left, right = repeat(left, onto), repeat(right, onto)
    return tl.dot(left, right, onto, input_precision="tf32x3")


@triton.jit
def repeat(tile, like):
    """A tile (rows, columns) once for each block of `like`, if that has blocks and the tile has none."""
    if len(tile.shape) == len(like.shape):
        return tile
    else:
        return tl.broadcast_to(tile[None, :, :], (like.shape[0], tile.shape[0], tile.shape[1]))


@triton.jit
def sum_blocks(tile):
    """(BLOCKS, rows, columns) -> (rows, columns); a tile of one block unchanged."""
    return tl.sum(tile, 0) if len(tile.shape) == 3 else tile
