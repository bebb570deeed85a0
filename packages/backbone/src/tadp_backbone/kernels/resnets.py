"""Puts the fused GroupNorm and SiLU into diffusers' resnet blocks."""

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from .group_norm_silu import GroupNormSiLU, SiLULinear


def fuse_resnets(model: nn.Module) -> int:
    """Replace norms, activations and time projections of the model's resnet blocks; returns how many blocks changed.

    Numbers, parameters and their names stay, so optimisers and checkpoints don't notice. Inner modules do change: norms
    give activated results, time projections take an embedding that is not activated yet. So merge adapters of time
    projections before; put on later, they would see that embedding without its SiLU. Blocks whose time projection
    already has an adapter, that scale and shift between norm and activation, or use another activation, stay as they
    are.
    """
    blocks = [m for m in model.modules() if isinstance(m, ResnetBlock2D) and _is_plain(m)]
    for block in blocks:
        block.norm1, block.norm2 = _fused_norm(block.norm1), _fused_norm(block.norm2)
        block.nonlinearity = nn.Identity()
        if block.time_emb_proj is not None and not block.skip_time_act:
            # The block activates the time embedding by the same module as the norms' results.
            block.time_emb_proj = _activating_linear(block.time_emb_proj)
    return len(blocks)


def _is_plain(block: ResnetBlock2D) -> bool:
    return (
        isinstance(block.nonlinearity, nn.SiLU)
        and block.time_embedding_norm == "default"
        and type(block.norm1) is type(block.norm2) is nn.GroupNorm
        and type(block.time_emb_proj) in (nn.Linear, type(None))
    )


def _fused_norm(norm: nn.GroupNorm) -> GroupNormSiLU:
    with torch.device("meta"):
        fused = GroupNormSiLU(norm.num_groups, norm.num_channels, norm.eps)
    fused.weight, fused.bias = norm.weight, norm.bias
    return fused.train(norm.training)


def _activating_linear(linear: nn.Linear) -> SiLULinear:
    with torch.device("meta"):
        activating = SiLULinear(linear.in_features, linear.out_features)
    activating.weight, activating.bias = linear.weight, linear.bias
    return activating.train(linear.training)
