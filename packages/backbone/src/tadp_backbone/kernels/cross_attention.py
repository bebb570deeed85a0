"""Attention that also returns where it looked."""

# B batch, N queries (latent cells), T keys (text tokens), D channels a head

import torch
from torch import Tensor

from .available import HAS_TRITON

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
WIDEST_HEAD = 160
MOST_KEYS = 256


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
    same = q.dtype == k.dtype == v.dtype and q.dtype in DTYPES
    return same and tokens <= MOST_KEYS and width <= WIDEST_HEAD and width % 8 == 0


def plain_attention_with_maps(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """`cross_attention_with_maps` in torch's own operations, on any device and of any size."""
    accurate = torch.promote_types(q.dtype, torch.float32)
    scores = q.to(accurate) @ k.to(accurate).transpose(-1, -2) * scale  # (B, heads, N, T)
    probabilities = scores.softmax(-1)
    output = probabilities.to(v.dtype) @ v
    return output, probabilities.mean(1).to(q.dtype)
