"""A few unlabelled images of a domain in; a learned token, or a token with a tuned UNet, out.

`textual_inversion` learns only new rows of the token embedding, `dreambooth` tunes the UNet (or a LoRA of it).
Both write files that any diffusers pipeline loads. Names are imported on first use, so that `import tadp_personalize`
needs neither torch nor diffusers.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tadp_personalize.config import DreamBoothConfig, LoraConfig, TextualInversionConfig
    from tadp_personalize.data.images import ImageReport, read_images
    from tadp_personalize.io.pipeline_parts import Base, load_base
    from tadp_personalize.io.tokens import base_of, check_base, expand_prompt, load_token
    from tadp_personalize.methods.dreambooth import dreambooth
    from tadp_personalize.methods.textual_inversion import textual_inversion
    from tadp_personalize.presets import PRESETS, preset
    from tadp_personalize.result import Personalization
    from tadp_personalize.training.memory_estimate import Estimate, estimate

_WHERE = {
    "Base": "io.pipeline_parts",
    "load_base": "io.pipeline_parts",
    "DreamBoothConfig": "config",
    "LoraConfig": "config",
    "TextualInversionConfig": "config",
    "dreambooth": "methods.dreambooth",
    "Estimate": "training.memory_estimate",
    "estimate": "training.memory_estimate",
    "ImageReport": "data.images",
    "read_images": "data.images",
    "PRESETS": "presets",
    "preset": "presets",
    "Personalization": "result",
    "textual_inversion": "methods.textual_inversion",
    "base_of": "io.tokens",
    "check_base": "io.tokens",
    "expand_prompt": "io.tokens",
    "load_token": "io.tokens",
}

__all__ = [
    "PRESETS",
    "Base",
    "DreamBoothConfig",
    "Estimate",
    "ImageReport",
    "LoraConfig",
    "Personalization",
    "TextualInversionConfig",
    "base_of",
    "check_base",
    "dreambooth",
    "estimate",
    "expand_prompt",
    "load_base",
    "load_token",
    "preset",
    "read_images",
    "textual_inversion",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"tadp_personalize.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
