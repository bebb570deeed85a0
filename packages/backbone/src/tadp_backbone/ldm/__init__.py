"""Original latent diffusion checkpoints (CompVis key names) as diffusers and transformers models."""

from .checkpoint import read_checkpoint
from .text import text_encoder_from_ldm
from .unet import unet_from_ldm
from .vae import vae_from_ldm

__all__ = ["read_checkpoint", "text_encoder_from_ldm", "unet_from_ldm", "vae_from_ldm"]
