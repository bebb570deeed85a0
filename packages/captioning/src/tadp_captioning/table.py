"""The table of captioners: what a short name stands for."""

from dataclasses import dataclass
from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True, kw_only=True)
class CaptionerSpec:
    model: str
    """A hub id, or a folder that `save_pretrained` of model and processor wrote."""
    revision: str = "main"
    """The hub's commit; pinned in the table, without meaning for a folder."""


CAPTIONERS: dict[str, CaptionerSpec] = {
    "tiny": CaptionerSpec(model=str(WEIGHTS / "tiny")),
    "blip2": CaptionerSpec(model="Salesforce/blip2-opt-2.7b", revision="59a1ef6c1e5117b3f65523d1c6066825bcf315e3"),
    "blip2-flan-t5-xl": CaptionerSpec(
        model="Salesforce/blip2-flan-t5-xl", revision="0eb0d3b46c14c1f8c7680bca2693baafdb90bb28"
    ),
}
