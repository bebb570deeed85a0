"""Attention that also returns where it looked."""

# B batch, N queries (latent cells), T keys (text tokens), D channels a head

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .available import DTYPES, HAS_TRITON, needs_gradient

WIDEST_HEAD = 160
MOST_KEYS = 256
BACKWARD_FROM = 1024
"""Queries from which the kernel's own backward pass is faster than that of the reference implementation (H100)."""

WithMaps = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor]]
"""As `cross_attention_with_maps`."""


def cross_attention_with_maps(
    q: Tensor, k: Tensor, v: Tensor, scale: float, *, detach_maps: bool = False
) -> tuple[Tensor, Tensor]:
    """q (B, heads, N, D), k and v (B, heads, T, D) -> output (B, heads, N, D), maps (B, N, T).

    The maps are softmax(q k^T * scale) averaged over heads; their rows sum to 1. Both results have q's dtype,
    scores and mean are computed in float32 at least: in half precision SD 2's scores overflow. On a CUDA device with
    Triton one kernel makes both results without writing the scores to memory; elsewhere: `plain_attention_with_maps`.
    `detach_maps`: no gradient goes through the maps.
    """
    if HAS_TRITON and q.is_cuda and fits_kernel(q, k, v):
        from .cross_attention_op import cross_attention

        return by_direction(cross_attention, q, k, v, scale, detach_maps)
    output, maps = plain_attention_with_maps(q, k, v, scale)
    return output, maps.detach() if detach_maps else maps


def by_direction(
    kernel: WithMaps, q: Tensor, k: Tensor, v: Tensor, scale: float, detach_maps: bool
) -> tuple[Tensor, Tensor]:
    """What is fastest of `kernel` and others: the kernel wins forward, its backward pass at many queries alone.

    Measured on an H100 with 16 images in bfloat16, forward and backward in us: at 4096, 1024 and 256 queries the kernel
    takes 688, 324 and 250; torch's attention, with the kernel's forward pass for maps without gradient, 553, 255 and
    149; the reference implementation, where maps have a gradient, 1409, 404 and 183.
    """
    if not needs_gradient(q, k, v):
        return kernel(q, k, v, scale)
    if detach_maps:
        with torch.no_grad():
            _, maps = kernel(q, k, v, scale)
        return F.scaled_dot_product_attention(q, k, v, scale=scale), maps
    if q.shape[2] < BACKWARD_FROM:
        return plain_attention_with_maps(q, k, v, scale)
    return kernel(q, k, v, scale)


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
