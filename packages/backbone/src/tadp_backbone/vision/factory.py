"""From whatever names a backbone to the backbone, whichever its architecture."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..config import BackboneConfig
from ..registry import BACKBONES
from .config import VisionConfig
from .table import VISION_BACKBONES, is_vision

if TYPE_CHECKING:
    from ..backbone import DiffusionBackbone
    from .backbone import VisionBackbone

_DIFFUSION_ALONE = ("vae", "keep_decoder", "tokenizer")


def load_backbone(
    source: str | Path,
    *,
    config: BackboneConfig | VisionConfig | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    offline: bool = False,
    **changes: Any,
) -> "DiffusionBackbone | VisionBackbone":
    """A name of either table, a hub id, a folder or a file; see `from_pretrained` of the two classes.

    A folder whose config.json is of a vision transformer gives a `VisionBackbone`, all else a `DiffusionBackbone`.
    `changes`: fields of its config, and further arguments of its `from_pretrained`, whose errors are raised.
    """
    common: Mapping[str, Any] = {"config": config, "dtype": dtype, "device": device, "offline": offline}
    if is_vision(source):
        from .backbone import VisionBackbone

        given = [name for name in _DIFFUSION_ALONE if changes.pop(name, None)]
        if given:
            raise ValueError(f"{source} is a vision transformer, which has no {' or '.join(given)}: leave it out")
        return VisionBackbone.from_pretrained(source, **common, **changes)
    from ..backbone import DiffusionBackbone

    try:
        return DiffusionBackbone.from_pretrained(source, **common, **changes)
    except ValueError as error:
        if not str(error).startswith("no backbone ") or str(source) in BACKBONES:
            raise
        raise ValueError(f"{error}, or a vision transformer: {', '.join(VISION_BACKBONES)}") from error
