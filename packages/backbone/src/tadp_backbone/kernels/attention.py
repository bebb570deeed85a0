"""Attention without maps: diffusers' processor with fewer operations, and on CPUs in blocks of queries."""

# B batch, N queries (latent cells), T keys, C channels, D channels a head, H W cells

from functools import cache

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from einops import rearrange
from torch import Tensor

from .available import needs_gradient

ROWS = 512
"""Queries of a block: their scores against 4096 keys take 4 MiB, and stay in the cache."""
LEAST_KEYS = 256
"""With fewer, such as a prompt's tokens, torch's attention takes as long as blocks."""


class ShortAttention(AttnProcessor2_0):
    """diffusers' processor without its division by 1 and its copies between orders of memory.

    Masks, norms of queries and keys, and norms that see the timestep take diffusers' own way.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *args: object,
        **kwargs: object,
    ) -> Tensor:
        """hidden_states (B, N, C) or (B, C, H, W), encoder_hidden_states (B, T, C of the text) -> like hidden_states"""
        x, text, image = hidden_states, encoder_hidden_states, hidden_states.ndim == 4
        unusual = any(part is not None for part in (attention_mask, attn.spatial_norm, attn.norm_q, attn.norm_k))
        if unusual or args or kwargs or (attn.group_norm is not None and not image):
            return super().__call__(attn, x, text, attention_mask, temb, *args, **kwargs)
        if attn.group_norm is not None:
            x = attn.group_norm(x)
        if image:
            x = rearrange(x, "b c h w -> b (h w) c")
        if text is None:
            text = x
        elif attn.norm_cross:
            text = attn.norm_encoder_hidden_states(text)
        q, k, v = (
            rearrange(projected, "b n (heads d) -> b heads n d", heads=attn.heads)
            for projected in (attn.to_q(x), attn.to_k(text), attn.to_v(text))
        )
        x = rearrange(attention(q, k, v), "b heads n d -> b n (heads d)")
        for layer in attn.to_out:  # linear, dropout
            x = layer(x)
        if image:
            x = rearrange(x, "b (h w) c -> b c h w", h=hidden_states.shape[-2])
        if attn.residual_connection:
            x = x + hidden_states
        return x if attn.rescale_output_factor == 1 else x / attn.rescale_output_factor


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """q (B, heads, N, D), k and v (B, heads, T, D) -> (B, heads, N, D), the fastest way here."""
    blocks = (
        q.device.type == "cpu"
        and q.dtype == torch.bfloat16
        and k.shape[2] >= LEAST_KEYS
        and not needs_gradient(q, k, v)
        and not torch.compiler.is_compiling()
        and _blocks_are_faster()
    )
    return block_attention(q, k, v) if blocks else F.scaled_dot_product_attention(q, k, v)


def block_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`attention` as two matrix products for each ROWS queries of a head; no gradients."""
    # Scores are rounded to q's type. Softmax does not see what all keys have in common: without it scores are smaller,
    # and so is the rounding (SageAttention, arXiv 2410.02367, section 4.2).
    accurate = k.float()
    k = ((accurate - accurate.mean(2, keepdim=True)) * q.shape[-1] ** -0.5).to(k.dtype)
    output = torch.empty_like(q)  # keeps the order of memory
    for image in range(q.shape[0]):
        for head in range(q.shape[1]):
            keys, values = k[image, head].T, v[image, head]
            for start in range(0, q.shape[2], ROWS):
                rows = slice(start, start + ROWS)
                output[image, head, rows] = (q[image, head, rows] @ keys).softmax(-1) @ values
    return output


@cache
def _blocks_are_faster() -> bool:
    """Where a CPU has products of bfloat16 vectors, but not of tiles: torch's attention uses those of tiles alone."""
    vectors, tiles = (
        getattr(torch.cpu, check, bool)() for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return vectors and not tiles
