"""Whether someone has changed what a module computes."""

from torch import nn


def is_unmodified(module: nn.Module) -> bool:
    """Whether a norm, convolution or activation may be bypassed: no adapter in its place, no hook, no own `forward`."""
    watched = module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__
    return type(module).forward in (nn.GroupNorm.forward, nn.Conv2d.forward, nn.SiLU.forward) and not watched
