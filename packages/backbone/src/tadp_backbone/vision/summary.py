"""What a vision transformer is, in a table, and one without weights."""

from pathlib import Path
from typing import Any

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from ..io.files import read_json_object
from ..summary import Description
from .backbone import VisionBackbone, VisionTextBackbone
from .config import VisionConfig
from .families import FAMILIES
from .table import VISION_BACKBONES, model_type


def untrained_vision(source: str | Path, **settings: Any) -> VisionBackbone:
    """A name of the table or a folder's model on the device "meta": no weights, no memory, no tokenizer.

    `settings`: fields of VisionConfig.
    """
    if str(source) in VISION_BACKBONES:
        config = VISION_BACKBONES[str(source)].model_config()
    else:
        cls = getattr(transformers, FAMILIES[model_type(source)].config)
        config = cls.from_dict(read_json_object(Path(source) / "config.json"))
    family = FAMILIES[config.model_type]
    with torch.device("meta"):
        model = family.build(config)
        if not family.two_towers:
            return VisionBackbone(model=model, config=VisionConfig(**settings))
        return VisionTextBackbone(model=model, tokenizer=None, config=VisionConfig(**settings))


def describe_vision(backbone: VisionBackbone, image_size: int = 512) -> Description:
    """Levels, parameters and the arithmetic of one image of a backbone on the device "meta"."""
    family, tower = backbone.family, backbone.tower
    images = torch.empty(1, 3, image_size, image_size, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        backbone(images, backbone.blank_context(1))
    whole, image_tower = (sum(p.numel() for p in module.parameters()) for module in (backbone.model, tower))
    parts = {"image_tower": image_tower} | ({"text_tower": whole - image_tower} if family.two_towers else {})
    return Description(
        rows=tuple(
            (level, f"{family.blocks}.{tap - 1}", int(level.stride in backbone.map_strides))
            for level, tap in zip(backbone.levels, backbone.taps, strict=True)
        ),
        parameters=parts,
        image_size=image_size,
        gflops={"image_tower": counter.get_total_flops() / 1e9},
    )
