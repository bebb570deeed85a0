"""A small AutoencoderTiny in place of the tiny VAE, as TAESD is for Stable Diffusion's: no norms, no attention."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from pretrain.corpus import Corpus
from pretrain.loop import LoopConfig, train
from pretrain.unet import Latents
from pretrain.vae import to_model_range


def build_encoder() -> AutoencoderTiny:
    """64 x 64 pixels in [-1, 1] to 4 x 16 x 16 scaled latents, and back."""
    return AutoencoderTiny(
        encoder_block_out_channels=(32, 32, 32),
        decoder_block_out_channels=(32, 32, 32),
        num_encoder_blocks=(0, 1, 2),
        num_decoder_blocks=(2, 1, 1),
        latent_channels=4,
        upsampling_scaling_factor=2,
        scaling_factor=1.0,
    )


def train_encoder(
    corpus: Corpus, vae: AutoencoderKL, config: LoopConfig, folder: Path, export: Callable[[AutoencoderTiny], None]
) -> None:
    """Distil the VAE's posterior means, in their scale for the UNet; the decoder learns pixels from the same means."""
    torch.manual_seed(config.seed)
    model = build_encoder()
    encoded = Latents(vae)

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chunk = corpus.chunk(step, config.batch_size)
        picks = torch.randint(len(chunk.images), (config.batch_size,), generator=generator)
        images, latents = to_model_range(chunk.images[picks.numpy()]), encoded.of(chunk)[picks]
        distilled = F.mse_loss(model.encode(images).latents, latents)
        decoded = F.mse_loss(model.decode(latents).sample, images)
        psnr = float(10 * torch.log10(4 / decoded.detach()))
        return distilled + decoded, {"latents": distilled.item(), "psnr": psnr}

    train(model, step_loss, config, folder, export)
