"""From pixels to the UNet's latents: by the full VAE, or by an encoder distilled from it (TAESD)."""

# B batch, H W image pixels, h w latent cells

from collections.abc import Sequence
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from .config import BackboneConfig

Vae: TypeAlias = AutoencoderKL | AutoencoderTiny
"""An AutoencoderTiny gives latents in the UNet's scale, without a posterior."""
Generators = torch.Generator | Sequence[torch.Generator] | None
"""One for the batch; one per image, whose noise then does not depend on the rest of the batch; None: torch's own."""


def factor_of(vae: Vae) -> int:
    """Image pixels per latent cell along one side."""
    distilled = isinstance(vae, AutoencoderTiny)
    widths = vae.config.encoder_block_out_channels if distilled else vae.config.block_out_channels
    return 2 ** (len(widths) - 1)


def latents_of(vae: Vae, images: Tensor, config: BackboneConfig, noise: Tensor | None = None) -> Tensor:
    """images (B, 3, H, W) in [-1, 1], sides multiples of `factor_of` -> latents (B, 4, h, w), scaled by the config.

    `noise` (B, 4, h, w): standard normal, where the config samples the posterior.
    """
    if isinstance(vae, AutoencoderTiny):
        return vae.encode(images).latents * latent_factor(vae, config)
    posterior = vae.encode(images).latent_dist
    latents = posterior.mode()
    if config.posterior == "sample":
        latents = latents + posterior.std * noise
    return latents * latent_factor(vae, config)


def posterior_noise(vae: Vae, images: Tensor, config: BackboneConfig, generator: Generators) -> Tensor | None:
    """What sampling the posterior of images (B, 3, H, W) draws, (B, 4, h, w); None where the config takes its mode."""
    if config.posterior != "sample":
        return None
    factor = factor_of(vae)
    size = (len(images), vae.config.latent_channels, images.shape[-2] // factor, images.shape[-1] // factor)
    return standard_normal(images.new_empty(size), generator)


def standard_normal(like: Tensor, generator: Generators) -> Tensor:
    """Noise of the shape (B, ...), type and device of `like`; from generators it is drawn in float32 and rounded."""
    if generator is None:
        return torch.randn(like.shape, dtype=like.dtype, device=like.device)
    if isinstance(generator, torch.Generator):
        return torch.randn(like.shape, generator=generator, device=generator.device).to(like)
    if len(generator) != len(like):
        raise ValueError(f"{len(generator)} generators for {len(like)} images: expected one each, or one for all")
    return torch.stack([torch.randn(like.shape[1:], generator=g, device=g.device) for g in generator]).to(like)


def latent_factor(vae: Vae, config: BackboneConfig) -> float:
    """The factor on what the encoder gives."""
    # The UNet was trained on latents of unit variance. VPD leaves the factor out, TADP made it a flag.
    own, asked = vae.config.scaling_factor, config.latent_scale
    if asked is None:
        return own
    # A distilled encoder's latents contain the full VAE's factor: it is divided out again.
    return own * asked / config.vae_scaling_factor if isinstance(vae, AutoencoderTiny) else asked


def check_vae(vae: Vae, channels: int, config: BackboneConfig) -> None:
    """Raise ValueError if this is an AutoencoderTiny of other latents than the UNet's `channels`, or if it can't do
    what the config asks for."""
    if not isinstance(vae, AutoencoderTiny):
        return
    if vae.config.latent_channels != channels:
        raise ValueError(
            f"the AutoencoderTiny gives latents of {vae.config.latent_channels} channels, the UNet takes {channels}: "
            "take one that was distilled from this model's VAE"
        )
    if config.posterior == "sample":
        raise ValueError(
            "posterior is 'sample', and an AutoencoderTiny has no posterior to sample: set posterior to 'mode', or "
            "take the full VAE"
        )
    if config.latent_scale is not None and config.vae_scaling_factor is None:
        raise ValueError(
            f"latent_scale is {config.latent_scale}, and the scaling factor in the AutoencoderTiny's latents is not "
            "known: set vae_scaling_factor to the full VAE's (0.18215 of Stable Diffusion), or leave latent_scale out"
        )


def check_replacement(new: Vae, old: Vae | None) -> None:
    """Raise ValueError if `new` is none of diffusers' two classes, or gives latents of another shape than `old`."""
    if not isinstance(new, AutoencoderKL | AutoencoderTiny):
        raise ValueError(f"the VAE is a {type(new).__name__}, expected diffusers' AutoencoderKL or AutoencoderTiny")
    if old is None:
        return
    (given, given_factor), (taken, taken_factor) = ((v.config.latent_channels, factor_of(v)) for v in (new, old))
    if (given, given_factor) != (taken, taken_factor):
        raise ValueError(
            f"the {type(new).__name__} gives {given} channels at 1/{given_factor} of the image's size, the backbone's "
            f"VAE {taken} at 1/{taken_factor}: take one of the same latents"
        )
