"""Where in a UNet features and maps are read: a reading of its topology."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel

from .features import Level
from .inputs import conditioning
from .recording import cross_attention_layers, record_outputs


@dataclass(frozen=True)
class Tap:
    """A place where features are read."""

    path: str
    """Module in the UNet whose output is taken."""

    channels: int
    factor: int
    """Latent cells per feature cell, along one side."""


def default_taps(unet: UNet2DConditionModel) -> tuple[Tap, ...]:
    """One tap per up level, finest first: the second block, of the finest the last (docs/reference.md, section 0)."""
    blocks = list(unet.up_blocks)
    widths = list(reversed(unet.config.block_out_channels))
    taps = []
    for i, block in enumerate(blocks):
        kind = "attentions" if getattr(block, "attentions", None) else "resnets"
        index = len(block.resnets) - 1 if i == len(blocks) - 1 else 1
        taps.append(Tap(f"up_blocks.{i}.{kind}.{index}", widths[i], 2 ** (len(blocks) - 1 - i)))
    return tuple(reversed(taps))


def named_taps(unet: UNet2DConditionModel, paths: Sequence[str]) -> tuple[Tap, ...]:
    """Taps at modules chosen by name; channels and size are measured on a copy without memory."""
    modules = dict(unet.named_modules())
    for path in paths:
        if path not in modules:
            blocks = [p for p in modules if p.count(".") == 3 and "blocks" in p and p.split(".")[2] != "downsamplers"]
            raise ValueError(f"no module {path!r} in the UNet to tap; there are, among others: {', '.join(blocks)}")
    size = 2 ** len(unet.config.block_out_channels)
    with torch.device("meta"):
        copy = UNet2DConditionModel.from_config(unet.config)
        latents = torch.empty(1, unet.config.in_channels, size, size)
        context = torch.empty(1, 2, unet.config.cross_attention_dim)
        with record_outputs(copy, paths) as outputs, torch.no_grad():
            copy(latents, 1, **conditioning(copy, context, (size, size)))
    for path in paths:
        if outputs[path].ndim != 4:
            raise ValueError(f"{path!r} gives {tuple(outputs[path].shape)}, a tap needs (B, C, h, w)")
    return tuple(Tap(path, outputs[path].shape[1], size // outputs[path].shape[-1]) for path in paths)


def map_layers(
    unet: UNet2DConditionModel, vae_factor: int, strides: Sequence[int] | None = None
) -> dict[int, tuple[str, ...]]:
    """{stride in image pixels: cross-attention layers of the down and up levels}; the mid block is left out.

    `strides` chooses, None: all. ValueError for one without cross-attention.
    """
    last = len(unet.up_blocks) - 1
    layers: dict[int, tuple[str, ...]] = {}
    for path in cross_attention_layers(unet):
        side, level = path.split(".")[:2]
        if side == "mid_block":
            continue
        stride = vae_factor * 2 ** (int(level) if side == "down_blocks" else last - int(level))
        layers[stride] = (*layers.get(stride, ()), path)
    wanted = sorted(layers) if strides is None else strides
    missing = [stride for stride in wanted if stride not in layers]
    if missing:
        raise ValueError(
            f"no cross-attention at stride {', '.join(map(str, missing))}: this UNet has it at strides "
            f"{', '.join(map(str, sorted(layers)))}"
        )
    return {stride: layers[stride] for stride in wanted}


def declared_levels(
    taps: Sequence[Tap], vae_factor: int, map_strides: Sequence[int], num_tokens: int
) -> tuple[Level, ...]:
    """Levels as heads will get them: strides in image pixels, channels with the maps."""
    strides = [tap.factor * vae_factor for tap in taps]
    return tuple(
        Level(tap.channels + (num_tokens if stride in map_strides else 0), stride)
        for tap, stride in zip(taps, strides, strict=True)
    )
