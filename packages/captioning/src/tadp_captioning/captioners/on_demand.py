"""A captioner whose weights are read when an image has to be captioned, and not where all have captions already."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tadp_captioning.base import Captioner

if TYPE_CHECKING:
    from PIL.Image import Image


class CaptionerOnDemand:
    """A `Captioner` of which name, settings and batch size are known before it is loaded."""

    def __init__(self, name: str, params: str, batch_size: int, load: Callable[[], Captioner]):
        self.name, self.params, self._batch_size, self._load = name, params, batch_size, load

    @cached_property
    def _captioner(self) -> Captioner:
        return self._load()

    @property
    def batch_size(self) -> int:
        """Images taken at once; the loaded captioner's as soon as there is one."""
        return self._captioner.batch_size if "_captioner" in vars(self) else self._batch_size

    def caption(self, images: "Sequence[Image]") -> list[str]:
        """One caption per image, in order."""
        return self._captioner.caption(images)

    def prepare(self, images: "Sequence[Image]") -> Any:
        """What `answer` takes for a batch of images."""
        return self._captioner.prepare(images)

    def answer(self, prepared: Any) -> list[str]:
        """One caption per image of what was prepared, in order."""
        return self._captioner.answer(prepared)
