"""Text and image in, feature pyramid and maps of a Stable Diffusion UNet or a vision transformer out."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backbone import DiffusionBackbone
    from .config import BackboneConfig
    from .features import Features, Level
    from .io.hub import fetch
    from .recording import record_cross_attention, record_self_attention
    from .registry import BACKBONES, BackboneEntry, Source, register_backbone
    from .vision.backbone import VisionBackbone, VisionTextBackbone
    from .vision.factory import load_backbone

_HOMES = {
    "BACKBONES": "registry",
    "BackboneConfig": "config",
    "BackboneEntry": "registry",
    "DiffusionBackbone": "backbone",
    "Features": "features",
    "Level": "features",
    "VisionBackbone": "vision.backbone",
    "VisionTextBackbone": "vision.backbone",
    "fetch": "io.hub",
    "load_backbone": "vision.factory",
    "record_cross_attention": "recording",
    "Source": "registry",
    "record_self_attention": "recording",
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
    "VisionBackbone",
    "VisionTextBackbone",
    "fetch",
    "load_backbone",
    "record_cross_attention",
    "record_self_attention",
    "register_backbone",
]


def __getattr__(name: str) -> object:
    """Public names are imported at first use: `import tadp_backbone` alone pulls in neither torch nor diffusers."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
