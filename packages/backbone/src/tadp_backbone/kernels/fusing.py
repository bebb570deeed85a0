"""Replaces diffusers' blocks by the faster ones of this package."""

from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import nn

from .attention import LeanAttnProcessor
from .convolutions import Im2colConv2d, UnpaddedDownsample
from .resnets import ChannelsLastTransformer, FusedResnetBlock

REPLACEMENTS = (FusedResnetBlock, ChannelsLastTransformer, UnpaddedDownsample, Im2colConv2d)


def fuse_blocks(model: nn.Module) -> int:
    """Have the model's blocks compute as those of this package, in channels_last memory; returns how many changed.

    Blocks keep their modules, parameters and names: they become instances of REPLACEMENTS, attention gets another
    processor, and the ReLUs of a distilled encoder work in place. `set_default_attn_processor` of diffusers' models
    then raises ValueError, as for any processor that is not theirs; `set_attn_processor(AttnProcessor2_0())` works.
    """
    return sum(_replaced(module) for module in model.modules())


def _replaced(module: nn.Module) -> bool:
    """Whether something was changed."""
    for kind in REPLACEMENTS:
        if kind.matches(module):
            module.__class__ = kind
            return True
    if isinstance(module, Attention) and type(module.processor) is AttnProcessor2_0:
        module.set_processor(LeanAttnProcessor())
        return True
    if isinstance(module, AutoencoderTinyBlock) and isinstance(module.fuse, nn.ReLU) and not module.fuse.inplace:
        for part in (*module.conv, module.fuse):
            if isinstance(part, nn.ReLU):
                part.inplace = True
        return True
    return False
