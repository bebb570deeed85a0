"""The table of captioners: what a short name stands for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadp_captioning._registry import Registry

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, kw_only=True)
class CaptionerSpec:
    model: str = ""
    """A hub id, or a folder that `save_pretrained` of model and processor wrote."""
    revision: str = "main"
    """The hub's commit; pinned in the table, without meaning for a folder."""
    factory: Callable[..., Any] | None = None
    """Builds a registered captioner, in place of a model; see `captioners.registered.OwnCaptioner`."""


_BUILT_IN = {
    "tiny": CaptionerSpec(model=str(WEIGHTS / "tiny")),
    "blip2": CaptionerSpec(model="Salesforce/blip2-opt-2.7b", revision="59a1ef6c1e5117b3f65523d1c6066825bcf315e3"),
    "blip2-flan-t5-xl": CaptionerSpec(
        model="Salesforce/blip2-flan-t5-xl", revision="0eb0d3b46c14c1f8c7680bca2693baafdb90bb28"
    ),
    # The weights of microsoft/Florence-2-* in the native format; those repositories hold code of their own.
    "florence2-base": CaptionerSpec(
        model="florence-community/Florence-2-base", revision="00921df66db728a9ceb750f5eca43e5c203a2051"
    ),
    "florence2-large": CaptionerSpec(
        model="florence-community/Florence-2-large", revision="4271c66b88cdbc05735372ec13b2360108de5317"
    ),
    "qwen2.5-vl-3b": CaptionerSpec(
        model="Qwen/Qwen2.5-VL-3B-Instruct", revision="66285546d2b821cf421d4f5eb2576359d3770cd3"
    ),
    "qwen3-vl": CaptionerSpec(model="Qwen/Qwen3-VL-2B-Instruct", revision="89644892e4d85e24eaac8bacfd4f463576704203"),
    "smolvlm-256m": CaptionerSpec(
        model="HuggingFaceTB/SmolVLM-256M-Instruct", revision="7e3e67edbbed1bf9888184d9df282b700a323964"
    ),
}
CAPTIONERS = Registry("captioner", _BUILT_IN)
