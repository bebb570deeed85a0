"""The denoising loss of a text-conditioned latent diffusion model.

B batch, T tokens, h w latent cells.
"""

from typing import NamedTuple

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn


class Batch(NamedTuple):
    """What one forward pass sees; every draw has already been made."""

    latents: Tensor  # (B, 4, h, w), clean, scaled
    noise: Tensor  # (B, 4, h, w), standard normal
    timesteps: Tensor  # (B,) in [0, num_train_timesteps)
    ids: Tensor  # (B, T) token ids
    weights: Tensor  # (B,) weight of each sample in the batch's loss

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on `device`."""
        return Batch(*(tensor.to(device) for tensor in self))


class DenoisingLoss(nn.Module):
    """(B,) mean squared error between the UNet's prediction and what the model's schedule asks it to predict.

    UNet and text encoder are its parts, so that wrapping this one module (for several GPUs, for mixed precision) wraps
    all that trains.
    """

    def __init__(self, unet: nn.Module, text_encoder: nn.Module, schedule: DDPMScheduler) -> None:
        super().__init__()
        self.unet, self.text_encoder, self.schedule = unet, text_encoder, schedule

    def forward(self, batch: Batch) -> Tensor:
        noisy = self.schedule.add_noise(batch.latents, batch.noise, batch.timesteps)
        context = self.text_encoder(batch.ids)[0]  # (B, T, D)
        predicted = self.unet(noisy.to(self.unet.dtype), batch.timesteps, context.to(self.unet.dtype)).sample
        return (predicted.float() - self.target(batch)).square().mean((1, 2, 3))

    def target(self, batch: Batch) -> Tensor:
        """Return what the UNet is to predict, (B, 4, h, w): the noise, the velocity or the clean latents."""
        kind = self.schedule.config.prediction_type
        if kind == "v_prediction":
            return self.schedule.get_velocity(batch.latents, batch.noise, batch.timesteps)
        return batch.noise if kind == "epsilon" else batch.latents


def draw_timesteps(count: int, steps: int, *, stratified: bool, generator: torch.Generator) -> Tensor:
    """Return `count` time steps, each uniform in [0, steps); stratified: one in each of `count` equal parts of it."""
    if not stratified:
        return torch.randint(steps, (count,), generator=generator)
    part = torch.randperm(count, generator=generator)
    return ((part + torch.rand(count, generator=generator)) * (steps / count)).long().clamp_(max=steps - 1)
