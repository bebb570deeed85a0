"""What a run would train and need, found out without weights or images: the real classes on the meta device.

B batch, T tokens, h w latent cells.
"""

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass
from os import PathLike
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tadp_personalize._read_errors import reading
from tadp_personalize.config import DreamBoothConfig, TextualInversionConfig
from tadp_personalize.io.pipeline_parts import Base, frozen, scheduler_class
from tadp_personalize.methods.dreambooth import tuning_learner
from tadp_personalize.methods.textual_inversion import token_learner
from tadp_personalize.run import DTYPES, Learner
from tadp_personalize.training.loss import Batch, DenoisingLoss
from tadp_personalize.training.meta_attention import fused_attention

_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Numbers of parameters, and bytes on the device of one process."""

    trained: int
    """Numbers that train."""
    frozen: int
    """Numbers that stay."""
    weights: int
    """Bytes of all weights."""
    gradients: int
    """Bytes of the gradients."""
    optimizer: int
    """Bytes of AdamW's two moments."""
    activations: int
    """Bytes kept from one forward pass for the backward pass, with fused attention (which keeps no matrices)."""

    @property
    def total(self) -> int:
        """Bytes together; the framework's own and temporary buffers come on top."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        names = ("weights", "gradients", "optimizer", "activations", "total")
        sizes = ", ".join(f"{name} {getattr(self, name) / _GIB:.2f}" for name in names)
        return f"trains {self.trained:,} numbers, {self.frozen:,} stay; GiB: {sizes}"


def estimate(
    base: Any,
    config: TextualInversionConfig | DreamBoothConfig,
    *,
    token: str = "<new-token>",
    initializer: str = "picture",
) -> Estimate:
    """Return what training `base` (a diffusers folder or a pipeline, of any device) with `config` would need."""
    parts = _on_meta(base, config)
    still_parts = frozen(parts, checkpointing=config.gradient_checkpointing)
    with still_parts, _learner(parts, config, token, initializer) as learner:
        trained = sum(p.numel() for p in learner.trained.values())
        mine = set(map(id, learner.trained.values()))
        still = [p for module in parts.modules() for p in module.parameters() if id(p) not in mine]
        with fused_attention():
            kept = _kept_for_backward(learner.objective, _batch(parts, config))
    moments = 2 if getattr(config, "adam_8bit", False) else 8
    return Estimate(
        trained=trained,
        frozen=sum(p.numel() for p in still),
        weights=4 * trained + sum(p.numel() * p.element_size() for p in still),
        gradients=4 * trained,
        optimizer=moments * trained,
        activations=kept,
    )


def _learner(
    parts: Base, config: TextualInversionConfig | DreamBoothConfig, token: str, initializer: str
) -> AbstractContextManager[Learner]:
    if isinstance(config, TextualInversionConfig):
        return token_learner(parts, token, initializer, config.vectors)
    return nullcontext(tuning_learner(parts, config))


def _on_meta(base: Any, config: TextualInversionConfig | DreamBoothConfig) -> Base:
    parts = _configs_of_folder(str(base)) if isinstance(base, str | PathLike) else _configs_of_parts(base)
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(parts.unet)
        vae = AutoencoderKL.from_config(parts.vae)
        text_encoder = CLIPTextModel(parts.text_encoder)
    for module in (unet, vae, text_encoder):
        for parameter in module.parameters():
            parameter.data = parameter.data.to(DTYPES[config.mixed_precision])
    return Base(
        name="",
        identity="",
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=parts.tokenizer,
        scheduler=parts.scheduler,
    )


def _configs_of_folder(folder: str) -> SimpleNamespace:
    with reading(folder, "use a complete folder that diffusers wrote"):
        index = StableDiffusionPipeline.load_config(folder)
        return SimpleNamespace(
            unet=UNet2DConditionModel.load_config(folder, subfolder="unet"),
            vae=AutoencoderKL.load_config(folder, subfolder="vae"),
            text_encoder=CLIPTextConfig.from_pretrained(folder, subfolder="text_encoder"),
            tokenizer=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
            scheduler=scheduler_class(index).from_pretrained(folder, subfolder="scheduler"),
        )


def _configs_of_parts(parts: Any) -> SimpleNamespace:
    return SimpleNamespace(
        unet=parts.unet.config,
        vae=parts.vae.config,
        text_encoder=parts.text_encoder.config,
        tokenizer=deepcopy(parts.tokenizer),
        scheduler=parts.scheduler,
    )


def _batch(parts: Base, config: TextualInversionConfig | DreamBoothConfig) -> Batch:
    count = config.batch_size * (2 if getattr(config, "class_images", 0) else 1)
    side = parts.unet.config.sample_size
    latents = torch.empty(count, parts.unet.config.in_channels, side, side, device="meta")
    steps = torch.zeros(count, dtype=torch.long, device="meta")
    ids = torch.zeros(count, parts.tokenizer.model_max_length, dtype=torch.long, device="meta")
    return Batch(latents, latents, steps, ids, torch.empty(count, device="meta"))


def _kept_for_backward(objective: DenoisingLoss, batch: Batch) -> int:
    """Return the bytes of all distinct tensors that autograd saves in one forward pass, weights not counted."""
    weights = {_storage(tensor) for tensor in objective.state_dict(keep_vars=True).values()}
    saved: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        saved.setdefault(_storage(tensor), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        objective(batch)
    return sum(t.untyped_storage().nbytes() for key, t in saved.items() if key not in weights)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
