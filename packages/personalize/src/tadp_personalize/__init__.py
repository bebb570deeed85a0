"""A few unlabelled images of a look in; a learnt token, or a token with a tuned UNet, out.

`textual_inversion` learns only new rows of the token embedding, `dreambooth` tunes the UNet (or a LoRA of it).
Both write files that any diffusers pipeline loads. Names are imported on first use, so that `import tadp_personalize`
needs neither torch nor diffusers.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tadp_personalize.base import Base, load_base
    from tadp_personalize.config import DreamBoothConfig, LoraConfig, TextualInversionConfig
    from tadp_personalize.images import ImageReport, read_images
    from tadp_personalize.inversion import textual_inversion
    from tadp_personalize.memory import Estimate, estimate
    from tadp_personalize.presets import PRESETS, preset
    from tadp_personalize.result import Personalization
    from tadp_personalize.tokens import base_of, check_base, expand_prompt, load_token
    from tadp_personalize.tuning import dreambooth

_WHERE = {
    "Base": "base",
    "load_base": "base",
    "DreamBoothConfig": "config",
    "LoraConfig": "config",
    "TextualInversionConfig": "config",
    "dreambooth": "tuning",
    "Estimate": "memory",
    "estimate": "memory",
    "ImageReport": "images",
    "read_images": "images",
    "PRESETS": "presets",
    "preset": "presets",
    "Personalization": "result",
    "textual_inversion": "inversion",
    "base_of": "tokens",
    "check_base": "tokens",
    "expand_prompt": "tokens",
    "load_token": "tokens",
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
