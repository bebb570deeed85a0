"""`FPNHead`: a feature pyramid in, class logits out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor

from tadp_heads.levels import Level, as_levels
from tadp_heads.preprocessing import check_channels
from tadp_heads.pretrained import PretrainedHead
from tadp_heads.schema import check_config
from tadp_heads.segmentation.ade import AdeFPN
from tadp_heads.segmentation.pascal import GROUPS, PascalFPN
from tadp_heads.segmentation.reference import read_reference

VARIANTS = {"pascal": PascalFPN, "ade": AdeFPN}


@dataclass(frozen=True, kw_only=True)
class SegmentationHeadConfig:
    """What a semantic FPN is rebuilt from."""

    levels: tuple[Level, ...]
    """Finest first, attention maps counted in."""
    num_classes: int
    """Logits per pixel, background included where the data set has one."""
    variant: str = "pascal"
    """"pascal": GroupNorm, logits at the image's size; "ade": BatchNorm, logits at the finest level's size."""
    width: int = 256
    """Channels of the pyramid."""
    inner_width: int | None = None
    """Input channels of the classifier; None: half of `width` for "pascal", `width` for "ade"."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", as_levels(self.levels))
        check_config(self)
        if self.variant not in VARIANTS:
            raise ValueError(f"unknown FPN variant {self.variant!r}; choose from {', '.join(VARIANTS)}")
        if self.num_classes < 1:
            raise ValueError(f"num_classes {self.num_classes}: expected at least 1")
        if self.width < 1 or self.classifier_width < 1:
            raise ValueError(f"width {self.width}, inner_width {self.inner_width}: expected at least 1")
        if self.variant == "pascal" and self.classifier_width % GROUPS:
            raise ValueError(
                f"{self.classifier_width} input channels of the classifier (inner_width, or half of width): the "
                f"variant 'pascal' needs a multiple of {GROUPS}"
            )
        strides = [level.stride for level in self.levels]
        if self.variant == "ade" and any((s // strides[0]).bit_count() != 1 or s % strides[0] for s in strides):
            raise ValueError(
                f"strides {strides}: the variant 'ade' takes powers of two times the finest one; use 'pascal'"
            )

    @property
    def classifier_width(self) -> int:
        """`inner_width`, or what stands for it."""
        if self.inner_width is not None:
            return self.inner_width
        return self.width // 2 if self.variant == "pascal" else self.width


class FPNHead(PretrainedHead):
    """The paper's semantic FPN heads over a pyramid of two or more levels (docs/reference.md, section 1).

    ValueError for an unknown variant, and for strides or widths that it cannot take.
    """

    config_class = SegmentationHeadConfig
    config: SegmentationHeadConfig

    def __init__(
        self,
        levels: Sequence[Any],
        num_classes: int,
        variant: str = "pascal",
        width: int = 256,
        inner_width: int | None = None,
    ):
        super().__init__()
        self.config = config = SegmentationHeadConfig(
            levels=tuple(levels), num_classes=num_classes, variant=variant, width=width, inner_width=inner_width
        )
        self.input_levels = config.levels
        self.fpn = VARIANTS[variant](config.levels, num_classes, width, config.classifier_width)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Levels (B, C, H/stride, W/stride), finest first -> logits (B, num_classes, H, W).

        For the variant "ade" they have the finest level's size. ValueError for other channels than the config's.
        """
        check_channels(self, features)
        return self.fpn(features)

    @classmethod
    def from_reference(cls, state_dict: Mapping[str, Tensor], variant: str, finest_stride: int = 8) -> Self:
        """A head with the weights of the paper's public code, in eval mode; sizes are read from the tensors.

        `state_dict` may be that of the head or of the whole model, under any outer prefix. `finest_stride` is the one
        size that the tensors do not determine. ValueError for a checkpoint without a head of that variant.
        """
        if variant not in VARIANTS:
            raise ValueError(f"unknown FPN variant {variant!r}; choose from {', '.join(VARIANTS)}")
        found = read_reference(state_dict, variant)
        levels = [Level(channels, finest_stride * 2**i) for i, channels in enumerate(found.channels)]
        head = cls(levels, found.num_classes, variant, found.width, found.inner_width)
        try:
            head.fpn.load_state_dict(found.weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"the checkpoint holds no {variant} head of the public code: {reason}") from error
        return head.eval()
