"""Which head a published checkpoint has, and reading it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from tadp_heads.depth import DepthHead
from tadp_heads.detection import FasterRCNNHead
from tadp_heads.pretrained import PretrainedHead
from tadp_heads.segmentation import FPNHead

ANCHORS = {
    "last_layer_depth.0.weight": "depth",
    "lateral_convs.0.conv.weight": "ade",
    "p5.weight": "pascal",
    "box_head.fc6.weight": "detection",
}
"""{end of a key: the head that has it}."""


def variant_of(keys: Iterable[str]) -> str | None:
    """ "ade", "pascal", "depth" or "detection"; None where no key ends as one of a head does."""
    known = tuple(keys)
    return next((variant for anchor, variant in ANCHORS.items() if prefix_of(known, anchor) is not None), None)


def prefix_of(keys: Iterable[str], anchor: str) -> str | None:
    """What comes before `anchor` in the first key that ends in it; None: no key does."""
    return next((key.removesuffix(anchor) for key in keys if key == anchor or key.endswith(f".{anchor}")), None)


def read_head(state: Mapping[str, Tensor], variant: str, levels: Sequence[Any], max_depth_m: float) -> PretrainedHead:
    """The head of that variant; `levels`: (channels, stride) of the UNet's without attention maps, finest first."""
    if variant == "depth":
        return DepthHead.from_reference(state, max_depth_m, levels=levels)
    if variant == "detection":
        return FasterRCNNHead.from_reference(state, finest_stride=levels[0].stride)
    # The rest of the file has names of its own that could be taken for the head's.
    own = {k: v for k, v in state.items() if "diffusion_model." not in k and "encoder_vq." not in k}
    return FPNHead.from_reference(own, variant, finest_stride=levels[0].stride)
