"""Changes of size and frame for training, over tv_tensors: masks, depth and boxes move with the image.

What pads an image fills in grey, which is about 0 after normalising; masks of class ids are filled with IGNORE_INDEX,
depth, the only mask of floats, with 0 for no value.
"""

from typing import Any

from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from tadp_heads.data.sample import IGNORE_INDEX
from tadp_heads.data.transforms.random_draws import integer, uniform

_GREY = 128  # the reference pads the normalised image with 0


class RandomFit(v2.Transform):
    """Scales into (long, short) pixels times a random ratio, keeping the aspect ratio (Resize of mmsegmentation)."""

    def __init__(self, long: int, short: int, ratio: tuple[float, float] = (1.0, 1.0)):
        super().__init__()
        self.long, self.short, self.ratio = long, short, ratio

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The new size."""
        height, width = v2.query_size(flat_inputs)
        ratio = uniform(*self.ratio)
        factor = min(self.long * ratio / max(height, width), self.short * ratio / min(height, width))
        return {"size": [max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Images bilinear, masks nearest."""
        return self._call_kernel(TF.resize, inpt, size=params["size"], antialias=False)


class RandomScale(v2.Transform):
    """Scales both sides by one factor U(low, high), images bicubic, masks nearest."""

    def __init__(self, low: float = 0.5, high: float = 2.0):
        super().__init__()
        self.low, self.high = low, high

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The new size."""
        factor = uniform(self.low, self.high)
        return {"size": [max(1, int(side * factor)) for side in v2.query_size(flat_inputs)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """See the class."""
        return self._call_kernel(TF.resize, inpt, interpolation=v2.InterpolationMode.BICUBIC, antialias=False, **params)


class RandomCrop(v2.Transform):
    """A random crop of at most `size` (height, width); a smaller image passes unchanged."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The crop's corner and size."""
        height, width = v2.query_size(flat_inputs)
        crop = {"height": min(self.size[0], height), "width": min(self.size[1], width)}
        return {**crop, "top": integer(0, height - crop["height"] + 1), "left": integer(0, width - crop["width"] + 1)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cuts out the crop."""
        return self._call_kernel(TF.crop, inpt, **params)


class CategoryCrop(RandomCrop):
    """A random square crop, redrawn while one class covers `max_ratio` of the labelled pixels or more."""

    def __init__(self, size: int, max_ratio: float = 0.75, tries: int = 10):
        super().__init__((size, size))
        self.max_ratio, self.tries = max_ratio, tries

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The crop's corner and size."""
        mask = next((item for item in flat_inputs if isinstance(item, tv_tensors.Mask)), None)
        for _ in range(self.tries):
            crop = super().make_params(flat_inputs)
            if mask is None or self._varied(TF.crop(mask, **crop)):
                break
        return crop

    def _varied(self, mask: Tensor) -> bool:
        _, counts = mask[mask != IGNORE_INDEX].unique(return_counts=True)
        return len(counts) > 1 and int(counts.max()) < self.max_ratio * int(counts.sum())


class PadTo(v2.Transform):
    """Pads at the right and at the bottom to `size` (height, width); larger inputs pass as they are."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """What is missing, as [left, top, right, bottom]."""
        height, width = v2.query_size(flat_inputs)
        return {"padding": [0, 0, max(0, self.size[1] - width), max(0, self.size[0] - height)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """See the module's text for what is filled in."""
        fill = _GREY
        if isinstance(inpt, tv_tensors.Mask):
            fill = 0 if inpt.is_floating_point() else IGNORE_INDEX
        return self._call_kernel(TF.pad, inpt, padding=params["padding"], fill=fill)


def flip_train(size: int) -> v2.Transform:
    """A square of `size` and flips, nothing else, for any task: for images that are of that size already."""
    return v2.Compose([v2.Resize((size, size)), v2.RandomHorizontalFlip(0.5)])
