"""Low-rank updates of a UNet in place of all its weights (LoRA, Hu et al. 2021)."""

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of every attention layer, as diffusers' own training scripts have them."""


def add_low_rank(unet: UNet2DConditionModel, rank: int, seed: int) -> None:
    """Add LoRA updates of that rank to the attention's weights; the output is unchanged at first."""
    with torch.random.fork_rng(devices=[]):  # peft draws the first matrix from torch's generator
        torch.manual_seed(seed)
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(_TARGETS)))


def merge_low_rank(unet: UNet2DConditionModel) -> None:
    """Add the updates to the weights and take them away: a plain UNet again."""
    unet.fuse_lora()
    unet.unload_lora()
