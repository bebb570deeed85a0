"""The table of captioners: what a short name stands for."""

from dataclasses import dataclass
from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, kw_only=True)
class CaptionerSpec:
    model: str
    """A hub id, or a folder that `save_pretrained` of model and processor wrote."""
    prompt: str = ""
    """What the model is asked; "" for models that caption without a question."""


CAPTIONERS: dict[str, CaptionerSpec] = {
    "tiny": CaptionerSpec(model=str(WEIGHTS / "tiny")),
    "blip2": CaptionerSpec(model="Salesforce/blip2-opt-2.7b"),
}
