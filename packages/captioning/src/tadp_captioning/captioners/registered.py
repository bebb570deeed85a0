"""Captioners of the user's own code."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from tadp_captioning.base import GenerationConfig
from tadp_captioning.registry import CAPTIONERS, CaptionerSpec

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH_SIZE = 8
"""Images that such a captioner is given at once, where nothing else is asked for."""


class OwnCaptioner(Protocol):
    """What a registered class builds: `cls(device=..., generation=...)`.

    `device` is a torch device, None the first GPU or the CPU; `generation` holds the lengths and the prompt asked for.
    """

    def caption(self, images: Sequence["Image"]) -> Sequence[str]:
        """One caption per RGB image, in order."""
        ...


Factory = Callable[..., OwnCaptioner]


def register_captioner(name: str) -> Callable[[Factory], Factory]:
    """Decorate a class that implements `OwnCaptioner`, or a function that builds one; `load_captioner` knows it.

    ValueError for a taken name.
    """

    def register(factory: Factory) -> Factory:
        CAPTIONERS.add(name, CaptionerSpec(factory=factory))
        return factory

    return register


class RegisteredCaptioner:
    """The user's captioner as the rest of the package knows a `Captioner`."""

    def __init__(self, name: str, own: OwnCaptioner, generation: GenerationConfig, batch_size: int):
        self.name, self.params, self.batch_size = name, generation.params, batch_size
        self._own = own

    def caption(self, images: Sequence["Image"]) -> list[str]:
        """One caption per image, in order."""
        return self.answer(self.prepare(images))

    def prepare(self, images: Sequence["Image"]) -> Any:
        """RGB."""
        return [image.convert("RGB") for image in images]

    def answer(self, prepared: Any) -> list[str]:
        """One caption per image; raise ValueError where the user's code gives something else."""
        captions = list(self._own.caption(prepared))
        if len(captions) != len(prepared) or not all(isinstance(caption, str) for caption in captions):
            raise ValueError(
                f"the captioner {self.name!r} gave {str(captions)[:80]} for {len(prepared)} images: expected one text "
                "per image"
            )
        return captions
