"""Text and image in, feature pyramid and cross-attention maps of a Stable Diffusion UNet out."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .attention import record_cross_attention, record_self_attention
    from .backbone import DiffusionBackbone
    from .config import BackboneConfig
    from .features import Features, Level
    from .io.hub import fetch
    from .registry import BACKBONES, BackboneEntry, Source, register_backbone

_HOMES = {
    "BACKBONES": "registry",
    "BackboneConfig": "config",
    "BackboneEntry": "registry",
    "DiffusionBackbone": "backbone",
    "Features": "features",
    "Level": "features",
    "fetch": "io.hub",
    "record_cross_attention": "attention",
    "Source": "registry",
    "record_self_attention": "attention",
    "register_backbone": "registry",
}

__all__ = [
    "BACKBONES",
    "BackboneConfig",
    "BackboneEntry",
    "DiffusionBackbone",
    "Features",
    "Level",
    "Source",
    "fetch",
    "record_cross_attention",
    "record_self_attention",
    "register_backbone",
]


def __getattr__(name: str) -> object:
    """Public names are imported at first use: `import tadp_backbone` alone pulls in neither torch nor diffusers."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
