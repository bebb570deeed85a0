"""The tiny AutoencoderKL: 64 x 64 pixels to 4 x 16 x 16 latents."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from pretrain.corpus import SIZE, Chunk, Corpus
from pretrain.loop import LoopConfig, train


def build_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=SIZE,
    )


def to_model_range(images: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) -> float (B, 3, H, W) in [-1, 1]."""
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(corpus: Corpus, config: LoopConfig, folder: Path) -> AutoencoderKL:
    torch.manual_seed(config.seed)
    vae = build_vae()

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chunk = corpus.chunk(step, config.batch_size)
        picks = torch.randint(len(chunk.images), (config.batch_size,), generator=generator)
        images = to_model_range(chunk.images[picks.numpy()])
        posterior = vae.encode(images).latent_dist
        decoded = vae.decode(posterior.sample(generator)).sample
        error = F.mse_loss(decoded, images)
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = 0.5 * F.l1_loss(decoded, images) + 4 * error + 0.25 * _gradient_l1(decoded, images) + 2e-4 * kl
        return loss, {"psnr": float(10 * torch.log10(4 / error.detach())), "kl": kl.item()}

    train(vae, step_loss, config, folder)
    seen = corpus.chunk(0, config.batch_size).images
    vae.register_to_config(scaling_factor=1 / float(encode_all(vae, seen).std()))
    return vae


@torch.no_grad()
def reconstruction_db(vae: AutoencoderKL, chunk: Chunk) -> dict[str, float]:
    """{domain: PSNR in dB of the chunk's images of it after encoding and decoding}."""
    images = to_model_range(chunk.images)
    decoded = vae.decode(vae.encode(images).latent_dist.mode()).sample.clamp(-1, 1)
    error = (decoded - images).square().mean(dim=(1, 2, 3))  # (N,)
    domains = [chunk.domain(index) for index in range(len(images))]
    return {
        domain: float(10 * torch.log10(4 / error[[own == domain for own in domains]].mean()))
        for domain in dict.fromkeys(domains)
    }


def _gradient_l1(a: Tensor, b: Tensor) -> Tensor:
    """L1 of the differences between neighbouring pixels: edges count, which plain L1 blurs."""
    across = F.l1_loss(a.diff(dim=3), b.diff(dim=3))
    return across + F.l1_loss(a.diff(dim=2), b.diff(dim=2))


@torch.no_grad()
def encode_all(vae: AutoencoderKL, images: np.ndarray, batch_size: int = 100) -> Tensor:
    """Unscaled posterior means of all images, (N, 4, 16, 16) float32."""
    parts = []
    for start in range(0, len(images), batch_size):
        batch = to_model_range(images[start : start + batch_size])
        parts.append(vae.encode(batch).latent_dist.mode().contiguous())
    return torch.cat(parts)
