"""What a backbone costs: parameters, arithmetic, and under which licence its weights are."""

from dataclasses import dataclass
from pathlib import Path

from ..io.licences import licence_of
from ..registry import BACKBONES
from .table import VISION_BACKBONES, is_vision


@dataclass(frozen=True, kw_only=True)
class BackboneCosts:
    """Of one backbone and one square image."""

    parameters: int
    """Of all of its parts that images and texts pass: VAE encoder, UNet and text encoder, or both towers."""
    gflops: float
    """Billions of floating-point operations for an image (a multiply-add is two), the text left out."""
    licence: str
    """Of the weights."""
    gated: bool
    """Whether the hub hands them out only to accounts that accepted the licence."""


def backbone_costs(source: str | Path, image_size: int) -> BackboneCosts:
    """Counted without weights, but for a diffusion model that is a folder or a file; `image_size`: side in pixels."""
    from ..backbone import DiffusionBackbone
    from ..summary import describe, untrained
    from .summary import describe_vision, untrained_vision

    if is_vision(source):
        described = describe_vision(untrained_vision(source), image_size)
    else:
        known = BACKBONES.get(str(source))
        bare = known is not None and known.unet
        backbone = untrained(str(source), device="meta") if bare else DiffusionBackbone.from_pretrained(source)
        described = describe(backbone, image_size)
    return BackboneCosts(
        parameters=sum(described.parameters.values()),
        gflops=sum(described.gflops.values()),
        licence=licence_of(str(source)).name,
        gated=str(source) in VISION_BACKBONES and VISION_BACKBONES[str(source)].gated,
    )
