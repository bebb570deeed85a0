"""Augmentations for training, over tv_tensors: masks, depth and boxes move with the image, colours change in it alone.

What pads an image fills in grey, which is about 0 after normalising; masks of class ids are filled with IGNORE_INDEX,
depth, the only mask of floats, with 0 for no value. All randomness is torch's global generator, which DataLoader seeds
in each worker.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from tadp_heads.data.sample import IGNORE_INDEX

HUE_STEPS = 180
"""OpenCV's steps of hue in a full turn."""
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


class ImageTransform(v2.Transform, ABC):
    """Changes uint8 images alone, through float values 0..255, with a probability."""

    _transformed_types = (tv_tensors.Image,)

    def __init__(self, probability: float = 1.0):
        super().__init__()
        self.probability = probability

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Rounds and clips at the end."""
        if not coin(self.probability):
            return inpt
        pixels = self.change(inpt.as_subclass(Tensor).float())
        return tv_tensors.wrap(pixels.round().clamp(0, 255).to(torch.uint8), like=inpt)

    @abstractmethod
    def change(self, pixels: Tensor) -> Tensor:
        """(3, H, W) float 0..255 -> the same."""


class PhotometricDistortion(ImageTransform):
    """Brightness, contrast, saturation and hue, each with probability 0.5 (PhotoMetricDistortion of mmsegmentation)."""

    def change(self, pixels: Tensor) -> Tensor:
        """See the class."""
        if coin():
            pixels = (pixels + uniform(-32, 32)).clamp(0, 255)
        contrast_first, contrast = coin(), uniform(0.5, 1.5) if coin() else 1.0
        if contrast_first:
            pixels = (pixels * contrast).clamp(0, 255)
        if coin():
            pixels = scale_saturation(pixels, uniform(0.5, 1.5))
        if coin():
            pixels = shift_hue(pixels, uniform(-18, 18))
        return pixels if contrast_first else pixels * contrast


class HSVJitter(ImageTransform):
    """Moves hue, saturation and value by -10..9 each, in OpenCV's units (transform.py of the Pascal code)."""

    def change(self, pixels: Tensor) -> Tensor:
        """See the class."""
        hue, saturation, value = (integer(-10, 10) for _ in range(3))
        return shift_value(shift_saturation(shift_hue(pixels, hue), saturation), value)


class HueSaturationValue(ImageTransform):
    """Moves hue by up to 20 of 180 steps, saturation by 30 and value by 20 of 255 (albumentations 1.3.1)."""

    def change(self, pixels: Tensor) -> Tensor:
        """See the class."""
        hue, saturation, value = uniform(-20, 20), uniform(-30, 30), uniform(-20, 20)
        return shift_value(shift_saturation(shift_hue(pixels, hue), saturation), value)


class BrightnessContrast(ImageTransform):
    """Contrast times 0.8 to 1.2, then brightness by up to a fifth of 255 (albumentations 1.3.1)."""

    def change(self, pixels: Tensor) -> Tensor:
        """See the class."""
        return pixels * uniform(0.8, 1.2) + 255 * uniform(-0.2, 0.2)


class RandomGamma(ImageTransform):
    """Raises pixels, as shares of 255, to the power of 0.8 to 1.2 (albumentations 1.3.1)."""

    def change(self, pixels: Tensor) -> Tensor:
        """See the class."""
        return (pixels / 255) ** uniform(0.8, 1.2) * 255


def flip_train(size: int) -> v2.Transform:
    """A square of `size` and flips, nothing else, for any task: for images that are of that size already."""
    return v2.Compose([v2.Resize((size, size)), v2.RandomHorizontalFlip(0.5)])


def shift_hue(pixels: Tensor, steps: float) -> Tensor:
    """Turns the H of HSV by `steps` of HUE_STEPS: (3, H, W) 0..255 -> the same."""
    return TF.adjust_hue(pixels / 255, steps / HUE_STEPS) * 255


def scale_saturation(pixels: Tensor, factor: float) -> Tensor:
    """Multiplies the S of HSV, at most to 1; H and V stay: (3, H, W) 0..255 -> the same."""
    value = pixels.amax(0)
    spread = value - pixels  # 0 for the largest channel; S = max(spread) / V
    return value - spread * torch.minimum(torch.tensor(factor), value / spread.amax(0).clamp(min=1e-3))


def shift_saturation(pixels: Tensor, shift: float) -> Tensor:
    """Adds to the S of HSV in units of 1/255; grey pixels have no hue and stay grey: (3, H, W) 0..255 -> the same."""
    value = pixels.amax(0)
    spread = value - pixels
    largest = spread.amax(0)
    wanted = (largest + shift / 255 * value).clamp(min=0).minimum(value)
    return value - spread * wanted / largest.clamp(min=1e-3)


def shift_value(pixels: Tensor, shift: float) -> Tensor:
    """Adds to the V of HSV; H and S stay, so black stays black: (3, H, W) 0..255 -> the same."""
    value = pixels.amax(0)
    return pixels * (value + shift).clamp(0, 255) / value.clamp(min=1)


def uniform(low: float, high: float) -> float:
    """A number of [low, high)."""
    return low + (high - low) * torch.rand(()).item()


def integer(low: int, high: int) -> int:
    """A whole number of low .. high - 1."""
    return int(torch.randint(low, high, ()))


def coin(probability: float = 0.5) -> bool:
    """True with the probability."""
    return torch.rand(()).item() < probability
