"""A backbone's interface to training: trainable parts, gradient checkpointing, and low-rank updates in place of all
weights (LoRA, Hu et al. 2021)."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from torch import nn

from ..text.adapters import LearnedContext, TextAdapter

_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of every attention layer, as diffusers' own training scripts have them."""


class TrainableParts:
    """The methods of `DiffusionBackbone` that select the trained parameters."""

    unet: UNet2DConditionModel
    text_adapter: TextAdapter | None
    learnt_context: LearnedContext | None
    unreached = ("unet.conv_norm_out.*", "unet.conv_out.*")
    """Patterns of `trainable_parts`' parameters that no gradient reaches: the UNet's own output layers."""

    @property
    def latent_channels(self) -> int:
        """Of the latents that the UNet takes."""
        return self.unet.config.in_channels

    def trainable_parts(self) -> dict[str, nn.Module]:
        """{"unet", "text_adapter", "learnt_context": module} of those that there are; all else stays frozen."""
        parts = {"unet": self.unet, "text_adapter": self.text_adapter, "learnt_context": self.learnt_context}
        return {name: part for name, part in parts.items() if part is not None}

    def blocks(self) -> list[nn.Module]:
        """The UNet's blocks in the order in which they run."""
        return [*self.unet.down_blocks, self.unet.mid_block, *self.unet.up_blocks]

    def checkpoint_gradients(self, enabled: bool) -> None:
        """Whether the UNet's blocks run again in the backward pass, which saves the memory of their activations."""
        self.unet.enable_gradient_checkpointing() if enabled else self.unet.disable_gradient_checkpointing()

    def add_low_rank(self, rank: int, seed: int) -> None:
        """Add LoRA updates to the weights of the UNet's attention; the output is unchanged at first."""
        with torch.random.fork_rng(devices=[]):  # peft draws the first matrix from torch's generator
            torch.manual_seed(seed)
            self.unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(_TARGETS)))

    def merge_low_rank(self) -> None:
        """Merge the LoRA updates into the UNet's weights and remove them."""
        self.unet.fuse_lora()
        self.unet.unload_lora()

    @contextmanager
    def low_rank_merged(self) -> Iterator[None]:
        """Inside, the UNet is a plain one with the updates in its weights."""
        unet = self.unet
        # Merging and taking the updates out again would leave rounding errors in the weights: merge into a copy.
        self.unet = deepcopy(unet)
        self.merge_low_rank()
        try:
            yield
        finally:
            self.unet = unet
