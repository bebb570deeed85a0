"""Attention that also returns where it looked."""

# B batch, N queries (latent cells), T keys (text tokens), d channels a head

import torch
from torch import Tensor


def cross_attention_with_maps(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """q (B, heads, N, d), k and v (B, heads, T, d) -> output (B, heads, N, d), maps (B, N, T).

    The maps are softmax(q k^T * scale) averaged over heads; their rows sum to 1. Both results have q's dtype,
    scores and mean are computed in float32 at least: in half precision SD 2's scores overflow.
    """
    accurate = torch.promote_types(q.dtype, torch.float32)
    scores = q.to(accurate) @ k.to(accurate).transpose(-1, -2) * scale  # (B, heads, N, T)
    probabilities = scores.softmax(-1)
    output = probabilities.to(v.dtype) @ v
    return output, probabilities.mean(1).to(q.dtype)
