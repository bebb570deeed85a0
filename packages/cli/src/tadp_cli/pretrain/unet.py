"""The tiny UNet2DConditionModel and its CLIPTextModel, trained together from scratch to predict noise."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tadp_backbone.attention import record_cross_attention
from tadp_cli.pretrain.corpus import Corpus
from tadp_cli.pretrain.grounding import coverage, grounding_loss
from tadp_cli.pretrain.loop import LoopConfig, train
from tadp_cli.pretrain.prompts import ClassTokens, training_prompt
from tadp_heads.data.scenes_shapes import CLASSES

GROUNDED_SIDES = (16, 8)
"""Sides, in cells, of the attention layers that the grounding loss looks at: strides 4 and 8 in pixels."""
MIN_SNR = 5.0


def build_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(48, 96, 112),
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        layers_per_block=1,
        cross_attention_dim=96,
        attention_head_dim=4,
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
    corpus: Corpus, latents: Tensor, tokenizer: CLIPTokenizer, config: LoopConfig, folder: Path, grounding: float = 0.5
) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    """`latents` (N, 4, 16, 16): scaled latents of the corpus. `grounding`: weight of the grounding loss."""
    torch.manual_seed(config.seed)
    unet, text_encoder = build_unet().to(memory_format=torch.channels_last), build_text_encoder(tokenizer)
    alphas = build_scheduler().alphas_cumprod
    class_tokens = ClassTokens(tokenizer)

    def step_loss(generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        picks = torch.randint(len(latents), (config.batch_size,), generator=generator).sort().values
        rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        prompts = [training_prompt(corpus.scene(i), corpus.look(i), rng) for i in picks.tolist()]
        ids = tokenizer(prompts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        timesteps = _timesteps(len(picks), generator)
        alpha = alphas[timesteps]  # (B,)
        noise = torch.randn(latents[picks].shape, generator=generator)
        noisy = alpha.sqrt()[:, None, None, None] * latents[picks] + (1 - alpha).sqrt()[:, None, None, None] * noise
        context = text_encoder(ids).last_hidden_state  # (B, 77, 96)
        with record_cross_attention(unet, detach=False) as maps:
            predicted = unet(noisy.to(memory_format=torch.channels_last), timesteps, context).sample
        snr = alpha / (1 - alpha)
        error = F.mse_loss(predicted, noise, reduction="none").mean(dim=(1, 2, 3))
        denoising = (error * (MIN_SNR / snr).clamp(max=1)).mean()
        masks = torch.from_numpy(corpus.masks[picks.numpy()])
        grounded = _grounding(maps, class_tokens.find(ids), masks, alpha)
        loss = denoising + grounding * grounded
        return loss, {"denoising": denoising.item(), "grounding": grounded.item()}

    train(nn.ModuleList([unet, text_encoder]), step_loss, config, folder)
    return unet, text_encoder


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
