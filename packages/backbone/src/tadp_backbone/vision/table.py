"""The vision transformers known by name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._registry import Registry
from ..registry import Source
from .families import FAMILIES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NOT_VERIFIED = "main, not verified"
"""What is said of a revision that names no commit."""
DINOV3_LICENCE = "DINOv3 License"
_APACHE = "Apache-2.0"
_MIT = "MIT"


@dataclass(frozen=True, kw_only=True)
class VisionEntry:
    """A row of the table."""

    source: Source | None
    """Where the weights lie; without a revision the newest, which nobody verified. None: weights drawn at random, the
    same each time, to try the steps with."""
    licence: str
    licence_note: str = ""
    """A note on the model."""
    gated: bool
    """Whether the hub hands them out only to accounts that accepted the licence."""
    model_type: str
    config: Mapping[str, Any]
    """Arguments of the family's config: the model without its weights."""

    @property
    def revision(self) -> str:
        """The commit, or that there is none."""
        return (self.source.revision if self.source else "") or NOT_VERIFIED

    def model_config(self) -> "PretrainedConfig":
        """The config that its family's class builds the model from."""
        import transformers

        return getattr(transformers, FAMILIES[self.model_type].config)(**self.config)


def _sizes(width: int, layers: int, heads: int, inner: int | None = None) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        **({} if inner is None else {"intermediate_size": inner}),
    }


_SMALL, _BASE, _LARGE = _sizes(384, 12, 6), _sizes(768, 12, 12), _sizes(1024, 24, 16)
_GIANT = _sizes(1536, 40, 24) | {"use_swiglu_ffn": True}
_SO400M = _sizes(1152, 27, 16, 4304)


def _dinov2(size: str, sizes: dict[str, Any]) -> dict[str, VisionEntry]:
    common = {**sizes, "patch_size": 14, "image_size": 518}
    name = f"dinov2-vit{size[0]}14"
    plain = VisionEntry(
        source=Source(repository=f"facebook/dinov2-{size}"),
        licence=_APACHE,
        gated=False,
        model_type="dinov2",
        config=common,
    )
    registers = VisionEntry(
        source=Source(repository=f"facebook/dinov2-with-registers-{size}"),
        licence=_APACHE,
        gated=False,
        model_type="dinov2_with_registers",
        config=common | {"num_register_tokens": 4},
    )
    return {name: plain, f"{name}-reg": registers}


def _dinov3(name: str, sizes: dict[str, Any], data: str = "lvd1689m") -> VisionEntry:
    return VisionEntry(
        source=Source(repository=f"facebook/dinov3-{name}-pretrain-{data}"),
        licence=DINOV3_LICENCE,
        licence_note="terms of its own: read them before you use the weights",
        gated=True,
        model_type="dinov3_vit",
        config={"patch_size": 16, "num_register_tokens": 4, **sizes},
    )


def _clip(size: str, patch: int, side: int, vision: dict[str, Any], text: dict[str, Any], width: int) -> VisionEntry:
    suffix = f"-{side}" if side != 224 else ""
    return VisionEntry(
        source=Source(repository=f"openai/clip-vit-{size}-patch{patch}{suffix}"),
        licence=_MIT,
        licence_note="of the code; the weights' page names none",
        gated=False,
        model_type="clip",
        config={
            "vision_config": {**vision, "patch_size": patch, "image_size": side, "projection_dim": width},
            "text_config": {**text, "num_hidden_layers": 12, "vocab_size": 49408, "projection_dim": width},
            "projection_dim": width,
        },
    )


def _siglip2(size: str, patch: int, vision: dict[str, Any], text: dict[str, Any], side: int) -> VisionEntry:
    naflex = side == 0
    grid = {"num_patches": 256} if naflex else {"image_size": side}
    return VisionEntry(
        source=Source(repository=f"google/siglip2-{size}-patch{patch}-{'naflex' if naflex else side}"),
        licence=_APACHE,
        gated=False,
        model_type="siglip2" if naflex else "siglip",
        config={
            "vision_config": {**vision, "patch_size": patch, **grid},
            "text_config": {
                **text,
                "vocab_size": 256000,
                "max_position_embeddings": 64,
                "projection_size": vision["hidden_size"],
            },
        },
    )


_GATED_MLP: dict[str, Any] = {"use_gated_mlp": True, "hidden_act": "silu"}
_CLIP_BASE = (_sizes(768, 12, 12, 3072), _sizes(512, 12, 8, 2048), 512)
_CLIP_LARGE = (_sizes(1024, 24, 16, 4096), _sizes(768, 12, 12, 3072), 768)
_SIGLIP = {
    "base": (_sizes(768, 12, 12, 3072), _sizes(768, 12, 12, 3072)),
    "large": (_sizes(1024, 24, 16, 4096), _sizes(1024, 24, 16, 4096)),
    "so400m": (_SO400M, _SO400M),
}

_RANDOM = "none: weights drawn at random"
_NARROW = _sizes(32, 4, 2, 64) | {"patch_size": 8, "image_size": 64}

_BUILT_IN: dict[str, VisionEntry] = {
    **_dinov2("small", _SMALL),
    **_dinov2("base", _BASE),
    **_dinov2("large", _LARGE),
    **_dinov2("giant", _GIANT),
    "dinov3-vits16": _dinov3("vits16", _SMALL | {"intermediate_size": 1536}),
    "dinov3-vits16plus": _dinov3("vits16plus", _SMALL | {"intermediate_size": 1536} | _GATED_MLP),
    "dinov3-vitb16": _dinov3("vitb16", _BASE | {"intermediate_size": 3072}),
    "dinov3-vitl16": _dinov3("vitl16", _LARGE | {"intermediate_size": 4096}),
    "dinov3-vitl16-sat": _dinov3("vitl16", _LARGE | {"intermediate_size": 4096}, data="sat493m"),
    "dinov3-vith16plus": _dinov3("vith16plus", _sizes(1280, 32, 20, 5120) | _GATED_MLP),
    "dinov3-vit7b16": _dinov3(
        "vit7b16", _sizes(4096, 40, 32, 8192) | _GATED_MLP | {"query_bias": False, "value_bias": False}
    ),
    "clip-vitb32": _clip("base", 32, 224, *_CLIP_BASE),
    "clip-vitb16": _clip("base", 16, 224, *_CLIP_BASE),
    "clip-vitl14": _clip("large", 14, 224, *_CLIP_LARGE),
    "clip-vitl14-336": _clip("large", 14, 336, *_CLIP_LARGE),
    **{
        f"siglip2-{size}-patch{patch}-{side or 'naflex'}": _siglip2(size, patch, *_SIGLIP[size], side)
        for size, patch, sides in (
            ("base", 16, (224, 256, 384, 512, 0)),
            ("large", 16, (256, 384, 512)),
            ("so400m", 14, (224, 384)),
            ("so400m", 16, (256, 384, 512, 0)),
        )
        for side in sides
    },
    "random-dinov3": VisionEntry(
        source=None,
        licence=_RANDOM,
        gated=False,
        model_type="dinov3_vit",
        config=_NARROW | {"num_register_tokens": 4},
    ),
    # Its texts are read by the tokenizer of the tiny diffusion model.
    "random-clip": VisionEntry(
        source=None,
        licence=_RANDOM,
        gated=False,
        model_type="clip",
        config={
            "vision_config": _NARROW | {"projection_dim": 32},
            "text_config": _sizes(32, 2, 2, 64) | {"vocab_size": 49408, "projection_dim": 32},
            "projection_dim": 32,
        },
    ),
}
VISION_BACKBONES: Registry = Registry("vision backbone", _BUILT_IN)
"""{name: VisionEntry}"""


def is_vision(source: str | Path) -> bool:
    """Whether it is a name of the table, or a folder whose config.json is of one of the families."""
    return str(source) in VISION_BACKBONES or model_type(source) in FAMILIES


def has_text(source: str | Path) -> bool:
    """Whether the vision transformer has a text tower."""
    entry = VISION_BACKBONES.get(str(source))
    kind = model_type(source) if entry is None else entry.model_type
    return kind in FAMILIES and FAMILIES[kind].two_towers


def model_type(folder: str | Path) -> str:
    """That of a folder's config.json; "" where it says none."""
    config = Path(folder) / "config.json"
    if not str(folder) or not config.is_file():
        return ""
    try:
        values = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):  # also what is no text, and lists within lists within lists
        return ""
    kind = values.get("model_type") if isinstance(values, dict) else None
    return kind if isinstance(kind, str) else ""
