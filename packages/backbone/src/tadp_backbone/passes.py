"""From pixels or latents to the feature pyramid: all that a pass computes. No branch depends on tensor values: a GPU
runs it without host synchronisation and can replay it as one CUDA graph."""

# B batch, H W image pixels, h w latent cells, T tokens, D width of the context, K classes

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from diffusers import UNet2DConditionModel
from einops import rearrange
from torch import Tensor

from .class_maps import class_maps, presence_maps
from .config import BackboneConfig
from .inputs import cut_to

if TYPE_CHECKING:
    from .backbone import DiffusionBackbone

_SIZES = 6
"""Size conditioning (SDXL, section 2.2): original size, top-left corner of the crop, target size."""

Pyramid = tuple[tuple[Tensor, ...], dict[int, Tensor]]
"""Levels, and maps by stride, as `Features` has them."""


class Inputs(NamedTuple):
    """The tensors of a pass, on its device; of images and latents one is there."""

    timesteps: Tensor
    """(B,)"""
    context: Tensor
    """(B, T, D)"""
    named: Tensor
    """(B, T, K): which class a token names; K 0 without class words."""
    images: Tensor | None = None
    """(B, 3, H, W) in [-1, 1], padded."""
    latents: Tensor | None = None
    """(B, 4, h, w), scaled, padded."""
    posterior_noise: Tensor | None = None
    """(B, 4, h, w), where the VAE's posterior is sampled."""
    step_noise: Tensor | None = None
    """(B, 4, h, w), where noise of the level of `timesteps` is added."""


def run_pass(backbone: "DiffusionBackbone", inputs: Inputs, image_size: tuple[int, int]) -> Pyramid:
    """`image_size`: the image's (H, W) in pixels before padding."""
    latents = inputs.latents
    if inputs.images is not None:
        latents = backbone.encode_padded(inputs.images, inputs.posterior_noise).to(inputs.context.dtype)  # the UNet's
    assert latents is not None, "a pass begins at images or at latents"
    if inputs.step_noise is not None:
        latents = backbone.scheduler.add_noise(latents, inputs.step_noise, inputs.timesteps)
    outputs, maps = backbone.run_unet(latents, inputs.timesteps, inputs.context)
    attention = _maps_by_stride(backbone, maps, latents.shape[-2] * backbone.vae_factor, image_size)
    levels = []
    for tap in backbone.taps:
        stride = tap.factor * backbone.vae_factor
        level = cut_to(outputs[tap.path], image_size, stride)
        if stride in attention:
            level = torch.cat((level, _beside_level(backbone.config, attention[stride], inputs.named)), 1)
        levels.append(level)
    return tuple(levels), attention


def has_pooled_row(unet: UNet2DConditionModel) -> bool:
    """Whether the last row of a context is the pooled embedding, as for Stable Diffusion XL's UNet.

    Raise ValueError for a UNet that is conditioned on anything but the text.
    """
    kind = unet.config.addition_embed_type
    if kind not in (None, "text_time"):
        raise ValueError(f"a UNet with addition_embed_type {kind!r}: expected none, or 'text_time' as SDXL has it")
    return kind == "text_time"


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


def _maps_by_stride(
    backbone: "DiffusionBackbone", maps: Mapping[str, Tensor], padded_height: int, image_size: tuple[int, int]
) -> dict[int, Tensor]:
    """{layer: (B, N, T)} -> {stride: (B, T, h, w)}, the mean over the layers of a stride."""
    attention = {}
    for stride, paths in backbone.map_layers.items():
        mean = torch.stack([maps[path] for path in paths]).mean(0)
        cells = rearrange(mean, "b (h w) t -> b t h w", h=padded_height // stride)
        attention[stride] = cut_to(cells, image_size, stride)
    return attention


def _beside_level(config: BackboneConfig, maps: Tensor, named: Tensor) -> Tensor:
    """Maps by token (B, T, h, w) and which class a token names (B, T, K) -> the channels appended to a level."""
    if not config.class_words:
        return maps
    named = named[:, : maps.shape[1]]  # a pooled row has no map
    if config.class_input == "presence":
        return presence_maps(named, (maps.shape[-2], maps.shape[-1]))
    return class_maps(maps, named)
