"""What every captioner offers, and how captions are generated."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from PIL.Image import Image


@runtime_checkable
class Captioner(Protocol):
    """What the rest of the package knows of any captioner."""

    name: str
    """As in the table, or the folder or hub id it was loaded from; written into every caption's record."""
    params: str
    """How captions are generated, e.g. "min=0_max=77"; written into every caption's record."""

    @property
    def batch_size(self) -> int:
        """Images taken at once; may shrink while captioning when memory runs out."""
        ...

    def caption(self, images: Sequence["Image"]) -> list[str]:
        """One caption per image, in order; any mode and size of image."""
        ...

    def prepare(self, images: Sequence["Image"]) -> Any:
        """What `answer` takes for a batch of images; may run in another thread, while `answer` is busy."""
        ...

    def answer(self, prepared: Any) -> list[str]:
        """One caption per image of what was prepared, in order; a `NoCaption` where the model gave none."""
        ...


@dataclass(frozen=True, kw_only=True)
class GenerationConfig:
    """Greedy decoding, as the paper's captions were made (docs/reference.md, section 6: min 0, 20 or 40, max 77)."""

    min_new_tokens: int = 0
    """Tokens that a caption has at least, end token not counted."""
    max_new_tokens: int = 77
    """Tokens that a caption has at most; 77 is also the length of CLIP's context."""
    prompt: str | None = None
    """Prompt of the model, for Florence-2 a task such as "<OD>"; None: its family's default."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_new_tokens <= self.max_new_tokens or self.max_new_tokens < 1:
            raise ValueError(
                f"min_new_tokens={self.min_new_tokens}, max_new_tokens={self.max_new_tokens}: "
                "expected 0 <= min <= max and max >= 1"
            )

    @property
    def params(self) -> str:
        """The paper's notation of these settings, as in its file names, and the prompt where one is asked for."""
        lengths = f"min={self.min_new_tokens}_max={self.max_new_tokens}"
        return lengths if self.prompt is None else f"{lengths}_prompt={self.prompt}"

    @classmethod
    def from_params(cls, params: str) -> Self:
        """The settings whose `params` these are, as a caption's record has them; ValueError for others."""
        found = re.fullmatch(r"min=(\d+)_max=(\d+)(?:_prompt=(.*))?", params, re.DOTALL)
        if found is None:
            raise ValueError(f"generation settings {params!r}: expected e.g. min=0_max=77 or min=0_max=77_prompt=<OD>")
        return cls(min_new_tokens=int(found[1]), max_new_tokens=int(found[2]), prompt=found[3])
