"""`FPNHead`: a feature pyramid in, class logits out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from tadp_heads.levels import Level, as_levels
from tadp_heads.pretrained import PretrainedHead
from tadp_heads.segmentation.ade import AdeFPN
from tadp_heads.segmentation.pascal import PascalFPN
from tadp_heads.segmentation.reference import read_reference

VARIANTS = {"pascal": PascalFPN, "ade": AdeFPN}


@dataclass(frozen=True, kw_only=True)
class SegmentationHeadConfig:
    """What a semantic FPN is rebuilt from."""

    levels: tuple[Level, ...]
    """Finest first, attention maps counted in."""
    num_classes: int
    """Logits a pixel, background included where the data set has one."""
    variant: str = "pascal"
    """"pascal": GroupNorm, logits at the image's size; "ade": BatchNorm, logits at the finest level's size."""
    width: int = 256
    """Channels of the pyramid; a multiple of 64, since "pascal" normalises half as many in 32 groups."""

    def __post_init__(self):
        object.__setattr__(self, "levels", as_levels(self.levels))
        if self.variant not in VARIANTS:
            raise ValueError(f"unknown FPN variant {self.variant!r}; choose from {', '.join(VARIANTS)}")
        if self.num_classes < 1:
            raise ValueError(f"num_classes {self.num_classes}: expected at least 1")
        if self.width < 64 or self.width % 64:
            raise ValueError(f"width {self.width}: expected a multiple of 64")
        strides = [level.stride for level in self.levels]
        if self.variant == "ade" and any((s // strides[0]).bit_count() != 1 or s % strides[0] for s in strides):
            raise ValueError(
                f"strides {strides}: the variant 'ade' takes powers of two times the finest one; use 'pascal'"
            )


class FPNHead(PretrainedHead):
    """The paper's semantic FPN heads over a pyramid of two or more levels."""

    config_class = SegmentationHeadConfig
    config: SegmentationHeadConfig

    def __init__(self, levels: Sequence[Any], num_classes: int, variant: str = "pascal", width: int = 256):
        super().__init__()
        self.config = SegmentationHeadConfig(
            levels=tuple(levels), num_classes=num_classes, variant=variant, width=width
        )
        self.fpn = VARIANTS[variant](self.config.levels, num_classes, width)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Levels finest first -> (B, num_classes, H, W), or h x w of the finest level for the variant "ade"."""
        if len(features) != len(self.config.levels):
            raise ValueError(f"{len(features)} feature levels: this head was built for {len(self.config.levels)}")
        return self.fpn(features)

    @classmethod
    def from_reference(cls, state_dict: Mapping[str, Tensor], variant: str, finest_stride: int = 8) -> Self:
        """A head with the weights of the paper's public code, in eval mode; sizes are read from the tensors.

        `state_dict` may be that of the head or of the whole model, under any outer prefix. `finest_stride` is the one
        size that the tensors do not tell.
        """
        if variant not in VARIANTS:
            raise ValueError(f"unknown FPN variant {variant!r}; choose from {', '.join(VARIANTS)}")
        channels, num_classes, weights = read_reference(state_dict, variant)
        levels = [Level(width, finest_stride * 2**i) for i, width in enumerate(channels)]
        head = cls(levels, num_classes, variant)
        head.fpn.load_state_dict(weights)
        return head.eval()
