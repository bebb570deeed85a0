"""Text and image in, feature pyramid and cross-attention maps of a Stable Diffusion UNet out."""

from importlib import import_module

_HOMES = {
    "BACKBONES": "registry",
    "BackboneConfig": "config",
    "DiffusionBackbone": "backbone",
    "Features": "features",
    "Level": "features",
    "fetch": "io.hub",
    "record_cross_attention": "attention",
    "record_self_attention": "attention",
}

__all__ = [
    "BACKBONES",
    "BackboneConfig",
    "DiffusionBackbone",
    "Features",
    "Level",
    "fetch",
    "record_cross_attention",
    "record_self_attention",
]


def __getattr__(name: str) -> object:
    """Public names are imported at first use: `import tadp_backbone` alone pulls in neither torch nor diffusers."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
