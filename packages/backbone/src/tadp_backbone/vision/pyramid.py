"""From the patch features of four blocks to a feature pyramid of four levels.

The one adapter of all vision transformers. With q the power of two that is next to the patch's side p, at most 16,
levels have the strides q/2, q, 2q and 4q: 8, 16, 32 and 64 for patches of 14, 16 and 32 pixels, those of Stable
Diffusion's UNet. The earliest block gives the finest level, as in DPT (Ranftl et al. 2021, section 3.1). Features are
resampled bilinearly to q/2 and q, each cell's centre at its place in the image, and averaged over 2 x 2 and 4 x 4 cells
of stride q to the coarser ones. Nothing is learned.
"""

# B batch, C channels, g cells of the patch grid, h w cells of a level

import math

from torch import Tensor
from torch.nn import functional as F

FACTORS = (0.5, 1, 2, 4)
"""Strides of the levels in terms of q."""
_LARGEST = 16


def level_strides(patch_size: int) -> tuple[int, ...]:
    """Strides in image pixels of the four levels, finest first, for patches of so many pixels."""
    base = max(2, min(_LARGEST, 2 ** round(math.log2(patch_size))))
    return tuple(int(factor * base) for factor in FACTORS)


def quarter_taps(blocks: int) -> tuple[int, ...]:
    """The last block of each quarter, counted from 1: 6, 12, 18 and 24 of 24."""
    return tuple(max(1, blocks * quarter // 4) for quarter in range(1, 5))


def resample(grid: Tensor, patch_size: int, strides: tuple[int, ...], index: int, size: tuple[int, int]) -> Tensor:
    """Patch features (B, C, g, g) -> level `index` (B, C, h, w) of an image of `size`, (H, W) in pixels, multiples of
    the coarsest stride."""
    base, stride = strides[1], strides[index]
    fine = _bilinear(grid, patch_size / min(base, stride))
    cells = (size[0] // min(base, stride), size[1] // min(base, stride))
    fine = fine[..., : cells[0], : cells[1]]
    return fine if stride <= base else F.avg_pool2d(fine, stride // base)


def _bilinear(grid: Tensor, scale: float) -> Tensor:
    """`scale` times as many cells along each side, rounded down: cells that the grid covers whole."""
    if scale == 1:
        return grid
    # The size is not derived from the scale, so that centres stay where they are for any number of cells.
    return F.interpolate(grid, scale_factor=scale, mode="bilinear", align_corners=False, recompute_scale_factor=False)
