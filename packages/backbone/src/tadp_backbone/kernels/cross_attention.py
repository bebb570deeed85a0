"""Attention that also returns where it looked."""

# B batch, N queries (latent cells), T keys (text tokens), D channels a head

import torch
from torch import Tensor

from .available import HAS_TRITON

WIDEST_HEAD = 160
MOST_KEYS = {torch.float16: 256, torch.bfloat16: 256, torch.float32: 128}
LARGEST_TILE = {torch.float16: 2**15, torch.bfloat16: 2**15, torch.float32: 2**13}
"""Numbers in one head's keys, sides padded to powers of two: all keys lie in one tile, larger ones spill registers.

float16 and bfloat16: 128 keys of heads up to 160 wide, 256 of heads up to 128; float32, whose products take three parts
of each number: 128 keys of heads up to 64.
"""


def cross_attention_with_maps(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """q (B, heads, N, D), k and v (B, heads, T, D) -> output (B, heads, N, D), maps (B, N, T).

    The maps are softmax(q k^T * scale) averaged over heads; their rows sum to 1. Both results have q's dtype,
    scores and mean are computed in float32 at least: in half precision SD 2's scores overflow. On a CUDA device with
    Triton one kernel makes both results without writing the scores to memory; elsewhere: `plain_attention_with_maps`.
    """
    if HAS_TRITON and q.is_cuda and fits_kernel(q, k, v):
        from .cross_attention_op import cross_attention_op

        return cross_attention_op(q, k, v, scale)
    return plain_attention_with_maps(q, k, v, scale)


def fits_kernel(q: Tensor, k: Tensor, v: Tensor) -> bool:
    """Whether the kernel takes these sizes and types."""
    tokens, width = k.shape[2:]
    if not q.dtype == k.dtype == v.dtype or q.dtype not in LARGEST_TILE:
        return False
    tile = _next_power_of_2(tokens) * _next_power_of_2(width)
    return tokens <= MOST_KEYS[q.dtype] and width <= WIDEST_HEAD and width % 8 == 0 and tile <= LARGEST_TILE[q.dtype]


def _next_power_of_2(number: int) -> int:
    return 1 << (number - 1).bit_length()


def plain_attention_with_maps(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """`cross_attention_with_maps` in torch's own operations, on any device and of any size."""
    accurate = torch.promote_types(q.dtype, torch.float32)
    scores = q.to(accurate) @ k.to(accurate).transpose(-1, -2) * scale  # (B, heads, N, T)
    probabilities = scores.softmax(-1)
    output = probabilities.to(v.dtype) @ v
    return output, probabilities.mean(1).to(q.dtype)
