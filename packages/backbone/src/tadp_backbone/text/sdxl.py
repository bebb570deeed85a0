"""Stable Diffusion XL's conditioning: two text encoders side by side, a pooled embedding, and the image's size."""

# B texts, T tokens, D width of the UNet's context, P width of the pooled embedding

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F

from .encoder import tokenize

_SIZES = 6
"""Size conditioning (SDXL, section 2.2): original size, top-left corner of the crop, target size."""


def has_pooled_row(unet: UNet2DConditionModel) -> bool:
    """Whether the last row of a context is the pooled embedding, as for Stable Diffusion XL's UNet.

    Raise ValueError for a UNet that is conditioned on anything but the text.
    """
    kind = unet.config.addition_embed_type
    if kind not in (None, "text_time"):
        raise ValueError(f"a UNet with addition_embed_type {kind!r}: expected none, or 'text_time' as SDXL has it")
    return kind == "text_time"


def encode_two(first: tuple[Any, Any], second: tuple[Any, Any], texts: Sequence[str]) -> Tensor:
    """Texts -> contexts (B, T + 1, D): the last but one hidden states of both encoders side by side, and in the last
    row the second one's pooled embedding, padded with zeros. Each is (tokenizer, text encoder)."""
    hidden = []
    for tokenizer, encoder in (first, second):
        ids = tokenize(tokenizer, texts).to(encoder.device)
        given = encoder(input_ids=ids, output_hidden_states=True)
        hidden.append(given.hidden_states[-2])
    context = torch.cat(hidden, -1)
    pooled = F.pad(given.text_embeds, (0, context.shape[-1] - given.text_embeds.shape[-1]))
    return torch.cat((context, pooled[:, None]), 1)


def conditioning(unet: UNet2DConditionModel, context: Tensor, size: tuple[int, int]) -> dict[str, Any]:
    """A context as arguments of the UNet's forward; `size`: the padded image's (H, W) in pixels.

    SDXL's UNet is conditioned on an image that was neither scaled nor cropped.
    """
    if not has_pooled_row(unet):
        return {"encoder_hidden_states": context}
    width = unet.config.projection_class_embeddings_input_dim - _SIZES * unet.config.addition_time_embed_dim
    sizes = torch.tensor([[*size, 0, 0, *size]], device=context.device, dtype=context.dtype)
    return {
        "encoder_hidden_states": context[:, :-1],
        "added_cond_kwargs": {"text_embeds": context[:, -1, :width], "time_ids": sizes.expand(len(context), -1)},
    }
