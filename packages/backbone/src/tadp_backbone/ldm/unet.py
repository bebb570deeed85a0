"""openaimodel.UNetModel (CompVis) -> UNet2DConditionModel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from .checkpoint import around, count, load_strictly, looks_like, needed, rename, under

_PREFIX = "model.diffusion_model."
_FIRST = "input_blocks.0.0.weight"
_RESNET = (
    ("in_layers.0.", "norm1."),
    ("in_layers.2.", "conv1."),
    ("emb_layers.1.", "time_emb_proj."),
    ("out_layers.0.", "norm2."),
    ("out_layers.3.", "conv2."),
    ("skip_connection.", "conv_shortcut."),
)
_ENDS = (
    ("time_embed.0.", "time_embedding.linear_1."),
    ("time_embed.2.", "time_embedding.linear_2."),
    ("input_blocks.0.0.", "conv_in."),
    ("out.0.", "conv_norm_out."),
    ("out.2.", "conv_out."),
)


@dataclass(frozen=True)
class _Topology:
    widths: tuple[int, ...]
    attends: tuple[bool, ...]
    """Whether a level has transformers."""
    layers: int
    """Residual blocks per down level; an up level has one more."""


def unet_from_ldm(
    state_dict: Mapping[str, Tensor], num_heads: int | Sequence[int] | None = None
) -> UNet2DConditionModel:
    """The UNet of an original checkpoint, in eval mode; sizes are read from its tensors, all but the number of heads.

    `num_heads`: one number or one per level; None: as in Stable Diffusion, 8 (version 1), or 64 channels per head
    (version 2, whose transformers project linearly). Keys may be below "model.diffusion_model." or another prefix;
    averaged (EMA) weights are used where the file has them. A network without its output layer `out` is accepted:
    features do not need it. ValueError names the first tensor that is missing or of another shape.
    """
    state = _unet_state(state_dict)
    topology = _topology(state)
    model = _build(state, topology, num_heads)
    blocks = _block_prefixes(topology)
    renamed, original = {}, {}
    for key, tensor in state.items():
        new = _renamed(key, blocks)
        renamed[new], original[new] = tensor, key
    if not under(state, "out."):
        ends = ("conv_norm_out.", "conv_out.")
        renamed |= {key: torch.zeros_like(value) for key, value in model.state_dict().items() if key.startswith(ends)}
    load_strictly(model, renamed, "the UNet", {**_wanted_names(model, blocks), **original})
    return model.eval()


def _unet_state(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = around(state_dict, _FIRST, _PREFIX)
    # LitEma stores "model.diffusion_model.a.b" as "model_ema.diffusion_modelab"
    averaged = {key: "model_ema.diffusion_model" + key.replace(".", "") for key in state}
    state = {key: state_dict.get(averaged[key], value) for key, value in state.items()}
    for landmark in (_FIRST, "time_embed.0.weight"):
        if landmark not in state:
            raise ValueError(f"no LDM UNet in it: {landmark} is missing; this looks like {looks_like(state_dict)}")
    return state


def _topology(state: Mapping[str, Tensor]) -> _Topology:
    widths, attends, layers = [], [], [0]
    for i in range(1, count(state, "input_blocks.")):
        if under(state, f"input_blocks.{i}.0.op."):
            layers.append(0)
            continue
        convolution = needed(state, f"input_blocks.{i}.0.in_layers.2.weight", "the UNet")
        if layers[-1] == 0:
            widths.append(len(convolution))
            attends.append(any(key.startswith(f"input_blocks.{i}.1.") for key in state))
        layers[-1] += 1
    if len(set(layers)) != 1:
        raise ValueError(f"the UNet's levels have {layers} residual blocks, expected the same number at each")
    return _Topology(tuple(widths), tuple(attends), layers[0])


def _build(
    state: Mapping[str, Tensor], topology: _Topology, num_heads: int | Sequence[int] | None
) -> UNet2DConditionModel:
    text = next((value for key, value in state.items() if key.endswith("attn2.to_k.weight")), None)
    if text is None:
        raise ValueError("the UNet has no cross-attention (no key ends in attn2.to_k.weight): it takes no text")
    linear = needed(state, "middle_block.1.proj_in.weight", "the UNet").ndim == 2
    if num_heads is None:
        num_heads = tuple(max(1, width // 64) for width in topology.widths) if linear else 8
    kinds = [("CrossAttn" if attends else "") for attends in topology.attends]
    return UNet2DConditionModel(
        sample_size=96 if linear else 64,
        in_channels=state["input_blocks.0.0.weight"].shape[1],
        out_channels=len(state["out.2.weight"]) if "out.2.weight" in state else 4,
        down_block_types=tuple(f"{kind}DownBlock2D" for kind in kinds),
        up_block_types=tuple(f"{kind}UpBlock2D" for kind in reversed(kinds)),
        block_out_channels=topology.widths,
        layers_per_block=topology.layers,
        transformer_layers_per_block=count(state, "middle_block.1.transformer_blocks."),
        cross_attention_dim=text.shape[1],
        # diffusers' name is historical: for these models it is the number of heads
        attention_head_dim=num_heads if isinstance(num_heads, int) else tuple(num_heads),
        use_linear_projection=linear,
    )


def _block_prefixes(topology: _Topology) -> list[tuple[str, str]]:
    """(prefix in the file, prefix in diffusers) of every block."""
    pairs = [
        ("middle_block.0.", "mid_block.resnets.0."),
        ("middle_block.1.", "mid_block.attentions.0."),
        ("middle_block.2.", "mid_block.resnets.1."),
    ]
    levels, step = len(topology.widths), topology.layers + 1
    for level in range(levels):
        for j in range(topology.layers):
            block = f"input_blocks.{level * step + 1 + j}"
            pairs += [(f"{block}.0.", f"down_blocks.{level}.resnets.{j}.")]
            pairs += [(f"{block}.1.", f"down_blocks.{level}.attentions.{j}.")]
        pairs += [(f"input_blocks.{(level + 1) * step}.0.op.", f"down_blocks.{level}.downsamplers.0.conv.")]
    for level in range(levels):
        attends = topology.attends[levels - 1 - level]
        for j in range(step):
            block = f"output_blocks.{level * step + j}"
            pairs += [(f"{block}.0.", f"up_blocks.{level}.resnets.{j}.")]
            pairs += [(f"{block}.1.", f"up_blocks.{level}.attentions.{j}.")] if attends else []
        # the upsampler follows the last transformer, or the last residual block where there is none
        pairs += [(f"{block}.{2 if attends else 1}.conv.", f"up_blocks.{level}.upsamplers.0.conv.")]
    return pairs


def _renamed(key: str, blocks: Sequence[tuple[str, str]]) -> str:
    for old, new in blocks:
        if key.startswith(old):
            inner = key[len(old) :]
            return new + (rename(inner, _RESNET) if ".resnets." in new else inner)
    return rename(key, _ENDS)


def _wanted_names(model: UNet2DConditionModel, blocks: Sequence[tuple[str, str]]) -> dict[str, str]:
    """{key of the model: the key that the file should have}, for error messages."""
    back_blocks = [(new, old) for old, new in blocks]
    back_resnet = [(new, old) for old, new in _RESNET]
    names = {}
    for key in model.state_dict():
        names[key] = rename(key, [(new, old) for old, new in _ENDS])
        for new, old in back_blocks:
            if key.startswith(new):
                inner = key[len(new) :]
                names[key] = old + (rename(inner, back_resnet) if ".resnets." in new else inner)
                break
    return names
