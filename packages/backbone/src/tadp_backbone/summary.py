"""What a backbone is, in a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from .backbone import DiffusionBackbone
from .config import BackboneConfig
from .features import Level
from .inputs import conditioning, has_pooled_row
from .io.load import quiet
from .ldm.vae import drop_decoder
from .registry import BACKBONES, TAESD


@dataclass(frozen=True)
class Description:
    """Levels, parameters and arithmetic of a backbone; `str()` of it is the table."""

    rows: tuple[tuple[Level, str, int], ...]
    """(level, path of the tap in the UNet, cross-attention layers whose maps it gets)"""

    parameters: dict[str, int]
    image_size: int
    gflops: dict[str, float]
    """Billions of floating-point operations (a multiply-add is two) for one image, by part."""

    def __str__(self) -> str:
        lines = [f"{'stride':>6}  {'channels':>8}  {'maps of':>9}  tap"]
        for level, path, maps in self.rows:
            lines.append(f"{level.stride:>6}  {level.channels:>8}  {f'{maps} layers' if maps else '-':>9}  {path}")
        for part, count in self.parameters.items():
            cost = f", {self.gflops[part]:.1f} GFLOP" if part in self.gflops else ""
            lines.append(f"{part}: {count / 1e6:.2f} M parameters{cost}")
        lines.append(f"GFLOP for one image of {self.image_size} x {self.image_size}")
        return "\n".join(lines)


def describe(backbone: DiffusionBackbone, image_size: int = 512) -> Description:
    """Measured on copies without memory: costs no arithmetic, moves nothing."""
    rows = tuple(
        (level, tap.path, len(backbone.map_layers.get(level.stride, ())))
        for level, tap in zip(backbone.levels, backbone.taps, strict=True)
    )
    parts = {"unet": backbone.unet, "vae": backbone.vae, "text_encoder": backbone.text_encoder}
    parts["text_encoder_2"] = backbone.text_encoder_2
    return Description(
        rows=rows,
        parameters={name: sum(p.numel() for p in m.parameters()) for name, m in parts.items() if m is not None},
        image_size=image_size,
        gflops=_gflops(backbone, image_size),
    )


def untrained(
    name: str,
    *,
    vae: str | Path | None = None,
    config: BackboneConfig | None = None,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> DiffusionBackbone:
    """A model of the table at full size with random weights, as `from_pretrained` builds it but without a tokenizer.

    `vae` as there, "taesd" with random weights too. Device "meta" takes no memory.
    """
    entry = BACKBONES[name]
    if not entry.unet:
        raise ValueError(f"{name!r} comes with its weights: DiffusionBackbone.from_pretrained({name!r})")
    with torch.device(device):
        unet, full_vae = UNet2DConditionModel(**entry.unet), AutoencoderKL(**entry.vae)
        text_encoder = CLIPTextModel(CLIPTextConfig(**entry.text_encoder))
        second = CLIPTextModelWithProjection(CLIPTextConfig(**entry.text_encoder_2)) if entry.text_encoder_2 else None
    drop_decoder(full_vae)
    parts = {"unet": unet, "vae": full_vae, "text_encoder": text_encoder, "text_encoder_2": second}
    backbone = DiffusionBackbone(**parts, config=config or entry.config)
    if vae is not None:
        backbone.use_vae(AutoencoderTiny() if str(vae) == TAESD else vae)  # TAESD's sizes are the class's own
        drop_decoder(backbone.vae)
    return backbone.to(dtype)


def _gflops(backbone: DiffusionBackbone, image_size: int) -> dict[str, float]:
    side = -(-image_size // backbone.size_multiple) * backbone.size_multiple
    config = backbone.unet.config
    cells = side // backbone.vae_factor
    with torch.device("meta"), torch.no_grad():
        unet = UNet2DConditionModel.from_config(config)
        latents = torch.empty(1, config.in_channels, cells, cells)
        context = torch.empty(1, backbone.config.num_tokens + has_pooled_row(unet), config.cross_attention_dim)
        given = conditioning(unet, context, (side, side))
        costs = {"unet": _count(unet, latents, torch.ones(1), **given)}
        if backbone.vae is not None:
            with quiet("diffusers"):  # an AutoencoderTiny's config lists more than its class takes
                vae = type(backbone.vae).from_config(backbone.vae.config)
            costs["vae"] = _count(vae.encoder, torch.empty(1, backbone.vae.config.in_channels, side, side))
    return costs


def _count(module: nn.Module, *inputs: torch.Tensor, **further: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        module(*inputs, **further)
    return counter.get_total_flops() / 1e9
