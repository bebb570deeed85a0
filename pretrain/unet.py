"""The tiny UNet2DConditionModel and its CLIPTextModel, trained together from scratch to predict noise."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pretrain.corpus import Chunk, Corpus
from pretrain.grounding import coverage, grounding_loss
from pretrain.loop import LoopConfig, train
from pretrain.prompts import ClassTokens, training_prompt
from pretrain.vae import encode_all
from tadp_backbone.recording import record_cross_attention
from tadp_heads.data.scenes.shapes import CLASSES

GROUNDED_SIDES = (16, 8)
"""Sides, in cells, of the attention layers that the grounding loss uses: strides 4 and 8 in pixels."""
MIN_SNR = 5.0


def build_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64, 96),
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        layers_per_block=1,
        cross_attention_dim=96,
        attention_head_dim=2,
        norm_num_groups=16,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=96,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def build_scheduler() -> DDPMScheduler:
    return DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
    )


def train_unet(
    corpus: Corpus,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    config: LoopConfig,
    folder: Path,
    grounding: float,
    export: Callable[[UNet2DConditionModel, CLIPTextModel], None],
    start: Mapping[str, Tensor] | None = None,
) -> None:
    """`grounding`: weight of the grounding loss. `export` gets copies with averaged weights, now and then and last.

    `start`: weights to begin with. Sentences then name objects in any order: from left to right, the place of a word
    encodes where its object is, and the text encoder learns that instead of the class.
    """
    torch.manual_seed(config.seed)
    unet, text_encoder = build_unet(), build_text_encoder(tokenizer)
    models = nn.ModuleList([unet, text_encoder])
    if start is not None:
        models.load_state_dict(start, strict=False)
    alphas = build_scheduler().alphas_cumprod
    class_tokens = ClassTokens(tokenizer)
    encoded = Latents(vae)

    def step_loss(step: int, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        chunk = corpus.chunk(step, config.batch_size)
        latents = encoded.of(chunk)
        picks = torch.randint(len(latents), (config.batch_size,), generator=generator)
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        any_order = start is not None
        prompts = [training_prompt(chunk.scene(i), chunk.domain(i), rng, any_order) for i in picks.tolist()]
        ids = tokenizer(prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        timesteps = _timesteps(len(picks), generator)
        alpha = alphas[timesteps]  # (B,)
        noise = torch.randn(latents[picks].shape, generator=generator)
        noisy = alpha.sqrt()[:, None, None, None] * latents[picks] + (1 - alpha).sqrt()[:, None, None, None] * noise
        context = text_encoder(ids).last_hidden_state  # (B, 77, 96)
        with record_cross_attention(unet, detach=False) as maps:
            predicted = unet(noisy, timesteps, context).sample
        snr = alpha / (1 - alpha)
        error = F.mse_loss(predicted, noise, reduction="none").mean(dim=(1, 2, 3))
        denoising = (error * (MIN_SNR / snr).clamp(max=1)).mean()
        masks = torch.from_numpy(chunk.masks[picks.numpy()])
        grounded_loss = _grounding(maps, class_tokens.find(ids), masks, alpha)
        loss = denoising + grounding * grounded_loss
        return loss, {"denoising": denoising.item(), "grounding": grounded_loss.item()}

    train(models, step_loss, config, folder, lambda module: export(*module))


class Latents:
    """Scaled latents of a chunk, computed when it is new."""

    def __init__(self, vae: AutoencoderKL):
        self._vae = vae
        self._chunk: Chunk | None = None

    def of(self, chunk: Chunk) -> Tensor:
        """(N, 4, 16, 16) float32."""
        if chunk is not self._chunk:
            self._chunk = chunk
            self._latents = encode_all(self._vae, chunk.images) * self._vae.config.scaling_factor
        return self._latents


def _timesteps(count: int, generator: torch.Generator) -> Tensor:
    """40 % from the first 150 steps, where features are read; 60 % 1000 sigmoid(1.1 n), mostly in the middle."""
    early = torch.rand(count, generator=generator) < 0.4
    low = torch.rand(count, generator=generator) * 150
    anywhere = 1000 * torch.sigmoid(1.1 * torch.randn(count, generator=generator))
    return torch.where(early, low, anywhere).long().clamp(0, 999)


def _grounding(maps: dict[str, Tensor], class_tokens: Tensor, masks: Tensor, weight: Tensor) -> Tensor:
    losses = []
    for side in GROUNDED_SIDES:
        layers = [m for m in maps.values() if m.shape[1] == side * side]
        covered = coverage(masks, len(CLASSES), side)
        losses.append(grounding_loss(torch.stack(layers).mean(0), class_tokens, covered, weight))
    return torch.stack(losses).mean()
