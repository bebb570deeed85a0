"""Puts the faster blocks in the place of diffusers'."""

from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.unets.unet_2d_blocks import AutoencoderTinyBlock
from torch import nn

from .attention import ShortAttention
from .convolutions import FewCellsConv2d, UnpaddedDownsample
from .resnets import ChannelsLastTransformer, FusedResnetBlock

FASTER = (FusedResnetBlock, ChannelsLastTransformer, UnpaddedDownsample, FewCellsConv2d)


def fuse_blocks(model: nn.Module) -> int:
    """Have the model's blocks compute as those of this package, in channels_last memory; returns how many changed.

    Blocks keep their modules, parameters and names: they become instances of FASTER, attention gets another processor,
    and the ReLUs of a distilled encoder overwrite their input.
    """
    return sum(_faster(module) for module in model.modules())


def _faster(module: nn.Module) -> bool:
    """Whether something was changed."""
    for kind in FASTER:
        if kind.takes(module):
            module.__class__ = kind
            return True
    if isinstance(module, Attention) and type(module.processor) is AttnProcessor2_0:
        module.set_processor(ShortAttention())
        return True
    if isinstance(module, AutoencoderTinyBlock) and isinstance(module.fuse, nn.ReLU) and not module.fuse.inplace:
        for part in (*module.conv, module.fuse):
            if isinstance(part, nn.ReLU):
                part.inplace = True
        return True
    return False
