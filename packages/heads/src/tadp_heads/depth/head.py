"""The depth decoder of VPD, for any feature pyramid (docs/reference.md, section 2)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tadp_heads.levels import Level, as_levels
from tadp_heads.preprocessing import check_channels
from tadp_heads.pretrained import PretrainedHead
from tadp_heads.schema import check_config

# B batch, H W image pixels, h w cells of the fused map; s its stride
FUSION_INDEX = 2
"""The level at whose size all levels are fused; with fewer levels the last one."""


@dataclass(frozen=True, kw_only=True)
class DepthHeadConfig:
    """Sizes of a DepthHead; the defaults are those of the paper's NYUv2 model."""

    levels: tuple[Level, ...]
    """The pyramid it reads, finest first."""
    max_depth_m: float = 10.0
    """Upper bound of the prediction, metres."""
    fusion_channels: int = 1536
    """Width of the fused map."""
    deconv_channels: tuple[int, ...] = (32, 32, 32)
    """Widths of the deconvolutions, each of which doubles the size."""
    head_channels: int = 192
    """Width of the map from which depth is read off."""
    groups: int = 16
    """Groups of GroupNorm; as many as divide the width where they do not."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", as_levels(self.levels))
        object.__setattr__(self, "deconv_channels", tuple(self.deconv_channels))
        check_config(self)
        if not (math.isfinite(self.max_depth_m) and self.max_depth_m > 0):
            raise ValueError(f"max_depth_m is {self.max_depth_m}: expected metres above 0, e.g. 10.0 for rooms")
        first = self.levels[0].stride
        if any(level.stride & (level.stride - 1) for level in self.levels):
            raise ValueError(f"strides {[level.stride for level in self.levels]}: the depth head needs powers of two")
        if self.fusion_stride < 2 ** len(self.deconv_channels):
            raise ValueError(
                f"{len(self.deconv_channels)} deconvolutions enlarge a map of stride {self.fusion_stride} "
                f"(finest {first}) beyond the image; give fewer deconv_channels"
            )

    @property
    def fusion_index(self) -> int:
        """Index of the level at whose size all are fused."""
        return min(FUSION_INDEX, len(self.levels) - 1)

    @property
    def fusion_stride(self) -> int:
        """Image pixels per cell of the fused map."""
        return self.levels[self.fusion_index].stride


class DepthHead(PretrainedHead):
    """Levels strided down or upsampled to one size, fused, then deconvolved up to metres in (0, max_depth_m).

    The decoder of VPD (docs/reference.md, section 2). ValueError for levels or widths that it cannot take.
    """

    config_class = DepthHeadConfig

    def __init__(
        self,
        levels: Iterable[Any],
        max_depth_m: float = 10.0,
        *,
        fusion_channels: int = 1536,
        deconv_channels: Sequence[int] = (32, 32, 32),
        head_channels: int = 192,
        groups: int = 16,
    ):
        super().__init__()
        self.config = config = DepthHeadConfig(
            levels=as_levels(levels),
            max_depth_m=max_depth_m,
            fusion_channels=fusion_channels,
            deconv_channels=tuple(deconv_channels),
            head_channels=head_channels,
            groups=groups,
        )
        self.input_levels = config.levels
        finer = config.levels[: config.fusion_index]
        self.reduce = nn.ModuleList(_reduce(level, config.fusion_stride, groups) for level in finer)
        total = sum(level.channels for level in config.levels)
        self.fuse = nn.Sequential(nn.Conv2d(total, fusion_channels, 1), _group_norm(groups, fusion_channels), nn.ReLU())
        self.deconv = _deconvolutions(fusion_channels, config.deconv_channels)
        width = ([fusion_channels, *config.deconv_channels])[-1]
        self.refine = nn.Sequential(
            nn.Conv2d(width, head_channels, 3, padding=1), nn.BatchNorm2d(head_channels), nn.ReLU()
        )
        self.predict = nn.Sequential(
            nn.Conv2d(head_channels, head_channels, 3, padding=1), nn.ReLU(), nn.Conv2d(head_channels, 1, 3, padding=1)
        )
        self._initialise()

    def forward(self, features: Sequence[Tensor], image_size: tuple[int, int] | None = None) -> Tensor:
        """Features of images (B, 3, H, W) -> (B, 1, H, W) in metres.

        `image_size` (height, width): the part of a right- and bottom-padded image that is real. The fused map is cut to
        it before decoding, as the reference does, and (B, 1, height, width) is returned. ValueError for other channels
        than the config's.
        """
        fused = self._fused(features)  # (B, F, h, w)
        stride = self.config.fusion_stride
        height, width = image_size or (fused.shape[-2] * stride, fused.shape[-1] * stride)
        fused = fused[..., : -(-height // stride), : -(-width // stride)]
        decoded = self.refine(self.deconv(fused))  # (B, D, h * 2^n, w * 2^n), n deconvolutions
        for _ in range(int(math.log2(stride)) - len(self.config.deconv_channels)):
            decoded = F.interpolate(decoded, scale_factor=2, mode="bilinear", align_corners=False)
        depth = torch.sigmoid(self.predict(decoded)) * self.config.max_depth_m  # (B, 1, h * s, w * s)
        return depth[..., :height, :width]

    def _fused(self, features: Sequence[Tensor]) -> Tensor:
        config = self.config
        check_channels(self, features)
        maps = [reduce(feature) for reduce, feature in zip(self.reduce, features, strict=False)]
        maps.append(features[config.fusion_index])
        for level, feature in list(zip(config.levels, features, strict=True))[config.fusion_index + 1 :]:
            maps.append(F.interpolate(feature, scale_factor=level.stride // config.fusion_stride, mode="nearest"))
        if any(fused.shape[-2:] != maps[0].shape[-2:] for fused in maps):
            raise ValueError(
                f"features of sizes {[tuple(feature.shape[-2:]) for feature in features]} do not fit strides "
                f"{[level.stride for level in config.levels]}; pad the image to multiples of {config.levels[-1].stride}"
            )
        return self.fuse(torch.cat(maps, dim=1))

    def _initialise(self) -> None:
        for part, std in ((self.reduce, None), (self.fuse, None), (self.deconv, 1e-3), (self.refine, 1e-3)):
            _initialise_convolutions(part, std)
        _initialise_convolutions(self.predict, 1e-3)

    @classmethod
    def from_reference(
        cls, state_dict: Mapping[str, Tensor], max_depth_m: float = 10.0, levels: Iterable[Any] | None = None
    ) -> Self:
        """The head out of a published depth model of VPD or TADP, in eval mode; sizes are read from the tensors.

        Keys of other parts (`encoder.unet...`, `encoder.encoder_vq...`) are left alone, as is a common prefix such as
        `module.`. `levels`: when not Stable Diffusion's four, i.e. strides 8 to 64 with two equally wide deepest ones.
        """
        weights = _renamed(state_dict)
        levels = _reference_levels(weights) if levels is None else levels
        deconvs = [weight.shape[1] for key, weight in weights.items() if key.startswith("deconv.") and weight.ndim == 4]
        head = cls(
            levels,
            max_depth_m,
            fusion_channels=weights["fuse.0.weight"].shape[0],
            deconv_channels=deconvs,
            head_channels=weights["refine.0.weight"].shape[0],
        )
        try:
            head.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"the checkpoint is no depth head of VPD or TADP: {reason}") from error
        return head.eval()


def _group_norm(groups: int, channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(groups, channels), channels)


def _reduce(level: Level, stride: int, groups: int) -> nn.Sequential:
    """From `level` to `stride`: as many 3x3 convolutions of stride 2 as needed, norm and ReLU between them."""
    layers: list[nn.Module] = [nn.Conv2d(level.channels, level.channels, 3, stride=2, padding=1)]
    for _ in range(int(math.log2(stride // level.stride)) - 1):
        layers += [_group_norm(groups, level.channels), nn.ReLU()]
        layers.append(nn.Conv2d(level.channels, level.channels, 3, stride=2, padding=1))
    return nn.Sequential(*layers)


def _deconvolutions(channels: int, widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.ConvTranspose2d(channels, width, 2, stride=2, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers)


def _initialise_convolutions(part: nn.Module, std: float | None) -> None:
    """Normal with `std`, or truncated normal 0.02 when None (docs/reference.md, section 2); biases 0."""
    for module in part.modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            continue
        if std is None:
            nn.init.trunc_normal_(module.weight, std=0.02)
        else:
            nn.init.normal_(module.weight, std=std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


_REFERENCE_PARTS = {
    "encoder.layer1.": "reduce.0.",
    "encoder.layer2.": "reduce.1.",
    "encoder.out_layer.": "fuse.",
    "decoder.deconv_layers.": "deconv.",
    "decoder.conv_layers.": "refine.",
    "last_layer_depth.": "predict.",
}


def _renamed(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The head's tensors under our names, from a dictionary in the public code's names."""
    marker = "encoder.layer1.0.weight"
    prefixes = [key.removesuffix(marker) for key in state_dict if key.endswith(marker)]
    if len(prefixes) != 1:
        raise ValueError(
            f"{len(prefixes)} keys end in {marker!r}: expected one, as in a depth checkpoint of VPD or TADP; "
            "pass its state dict (often under 'model')"
        )
    renamed: dict[str, Tensor] = {}
    for theirs, ours in _REFERENCE_PARTS.items():
        start = prefixes[0] + theirs
        renamed |= {ours + key.removeprefix(start): value for key, value in state_dict.items() if key.startswith(start)}
    missing = [f"{theirs}*" for theirs, ours in _REFERENCE_PARTS.items() if f"{ours}0.weight" not in renamed]
    if missing:
        raise ValueError(f"the checkpoint lacks {', '.join(missing)}: expected a depth checkpoint of VPD or TADP")
    return renamed


def _reference_levels(weights: Mapping[str, Tensor]) -> tuple[Level, ...]:
    first, second = weights["reduce.0.0.weight"].shape[1], weights["reduce.1.0.weight"].shape[1]
    rest = weights["fuse.0.weight"].shape[1] - first - second
    if rest % 2:
        raise ValueError(f"the two deepest levels share {rest} channels, an odd number; pass levels=")
    return Level(first, 8), Level(second, 16), Level(rest // 2, 32), Level(rest // 2, 64)
