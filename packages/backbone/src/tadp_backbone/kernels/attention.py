"""Attention without maps: diffusers' processor with fewer operations, and on CPUs in chunks of queries."""

# B batch, N queries (latent cells), T keys, C channels, D channels per head, H W cells

from functools import cache

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from einops import rearrange
from torch import Tensor

from .available import needs_gradient

QUERY_CHUNK = 512
"""Queries of a chunk: their scores against 4096 keys take 4 MiB, which a CPU's cache holds."""
MIN_KEYS = 256
"""With fewer, such as a prompt's tokens, both ways take as long."""


class LeanAttnProcessor(AttnProcessor2_0):
    """diffusers' processor without its division by 1 and its copies between orders of memory.

    Falls back to diffusers' for masks, norms of queries and keys, and norms that see the timestep.
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
    """q (B, heads, N, D), k and v (B, heads, T, D) -> (B, heads, N, D): in chunks where this CPU is faster so."""
    chunked = (
        q.device.type == "cpu"
        and q.dtype == torch.bfloat16
        and k.shape[2] >= MIN_KEYS
        and not needs_gradient(q, k, v)
        and not torch.compiler.is_compiling()
        and chunks_are_faster()
    )
    return chunked_attention(q, k, v) if chunked else F.scaled_dot_product_attention(q, k, v)


def chunked_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`attention` as two matrix products for each QUERY_CHUNK queries of a head."""
    # Softmax is invariant to a shift of all keys: without their mean scores are small, and lose less in rounding to q's
    # type (SageAttention's smoothing of K, arXiv 2410.02367, section 4.2).
    precise = k.float()
    k = ((precise - precise.mean(2, keepdim=True)) * q.shape[-1] ** -0.5).to(k.dtype)
    output = torch.empty_like(q)  # keeps the order of memory
    for image in range(q.shape[0]):
        for head in range(q.shape[1]):
            keys, values = k[image, head].T, v[image, head]
            for start in range(0, q.shape[2], QUERY_CHUNK):
                chunk = slice(start, start + QUERY_CHUNK)
                output[image, head, chunk] = (q[image, head, chunk] @ keys).softmax(-1) @ values
    return output


@cache
def chunks_are_faster() -> bool:
    """With AVX512-BF16 and without AMX, where torch's attention takes as long in bfloat16 as in float32; not compared
    with AMX."""
    vectors, tiles = (
        getattr(torch.cpu, check, bool)() for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
    return vectors and not tiles
