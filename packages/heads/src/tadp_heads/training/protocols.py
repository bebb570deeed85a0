"""What training needs of its parts. Each is any object with these methods: no class has to be derived from."""

# B batch, T tokens, D width of the context, H W image pixels, h w latent cells

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor, nn

Report = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


class Contexts(Protocol):
    """The text of each training image, encoded."""

    @property
    def versions(self) -> int:
        """How many texts there are for each image; the sampler draws one."""

    def context(self, ids: Sequence[str], versions: Sequence[int] | None = None) -> Tensor | None:
        """(B, T, D) for the images of these ids; `versions`: which of its texts each image gets, None: the first.

        None where the backbone has the context itself, such as vectors that train with the head.
        """


class Backbone(Protocol):
    """Images and text in, a pyramid of features out. What it has of `TrainableBackbone` is used too."""

    levels: Sequence[tuple[int, int]]
    """(channels, stride) of each feature level, finest first."""

    def __call__(self, images: Tensor, context: Tensor | None) -> Any:
        """Images (B, 3, H, W) in the model's range, H and W multiples of the coarsest stride -> an object whose
        `levels` are tensors (B, C, H / stride, W / stride)."""


class TrainableBackbone(Backbone, Protocol):
    """A backbone of which parts can train; one without these methods stays unchanged."""

    unreached: tuple[str, ...]
    """Patterns of parameters that no gradient reaches."""

    def trainable_parts(self) -> Mapping[str, nn.Module]:
        """Modules by the first part of their parameters' names; the settings for the UNet are those of "unet"."""

    def blocks(self) -> Sequence[nn.Module]:
        """Modules that run one after the other, each of which may be sharded and gathered by itself."""

    def checkpoint_gradients(self, enabled: bool) -> None:
        """Whether activations are computed again in the backward pass."""

    def add_low_rank(self, rank: int, seed: int) -> None:
        """Put low-rank updates next to the weights; they train in place of "unet"."""

    def merge_low_rank(self) -> None:
        """Add the updates to the weights and remove them."""

    def low_rank_merged(self) -> AbstractContextManager[None]:
        """Inside, the backbone is as after `merge_low_rank`; afterwards it trains on, without rounding errors."""


class LatentBackbone(Backbone, Protocol):
    """A backbone that also starts from encoded images."""

    size_multiple: int
    """Image sides are padded to multiples of this many pixels before they are encoded."""
    vae_factor: int
    """Image pixels per latent cell along one side."""
    latent_channels: int

    def extract(self, latents: Tensor, context: Tensor | None, *, image_size: tuple[int, int]) -> Any:
        """Latents (B, C, h, w) of padded images -> as a call with images of (H, W) pixels."""


class LatentPool(Protocol):
    """Several encoded versions of each image, kept on disk."""

    def crop(self, key: str, make: Callable[[int], dict[str, Tensor]]) -> dict[str, Tensor]:
        """One version, drawn by torch's generator; `make(number)` reads and varies the image, "image" (3, H, W) in the
        backbone's range, which the pool replaces by "latents" (4, h, w)."""

    def fill(self, keys: Sequence[str], make: Callable[[str, int], dict[str, Tensor]]) -> None:
        """Make and encode all versions of the images of these keys that are missing."""


def needed(backbone: Any, method: str, setting: str) -> Callable[..., Any]:
    """A method of a backbone that a setting needs; raise ValueError where it is missing."""
    found = getattr(backbone, method, None)
    if found is None:
        raise ValueError(
            f"{setting} needs a backbone that has {method}(), and {type(backbone).__name__} has none: leave it out"
        )
    return found
