"""Training transforms of the paper's segmentation data sets, over tv_tensors (REFERENCE.md section 5).

All randomness is torch's global generator, which DataLoader seeds in each worker.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from tadp_heads.data.sample import IGNORE_INDEX

_GREY = 128  # about 0 after normalising: the reference pads the normalised image with 0


class RandomFit(v2.Transform):
    """Scales into (long, short) pixels times a random ratio, keeping the aspect ratio (Resize of mmsegmentation)."""

    def __init__(self, long: int, short: int, ratio: tuple[float, float] = (1.0, 1.0)):
        super().__init__()
        self.long, self.short, self.ratio = long, short, ratio

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The new size."""
        height, width = v2.query_size(flat_inputs)
        ratio = _uniform(*self.ratio)
        factor = min(self.long * ratio / max(height, width), self.short * ratio / min(height, width))
        return {"size": [max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Images bilinear, masks nearest."""
        return self._call_kernel(TF.resize, inpt, size=params["size"], antialias=False)


class CategoryCrop(v2.Transform):
    """A random crop of at most `size`, drawn anew while one class covers over `max_ratio` of the labelled pixels."""

    def __init__(self, size: int, max_ratio: float = 0.75, tries: int = 10):
        super().__init__()
        self.size, self.max_ratio, self.tries = size, max_ratio, tries

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The crop's corner and size."""
        height, width = v2.query_size(flat_inputs)
        mask = next((item for item in flat_inputs if isinstance(item, tv_tensors.Mask)), None)
        crop = {"height": min(self.size, height), "width": min(self.size, width)}
        for _ in range(self.tries):
            crop["top"] = _integer(0, height - crop["height"] + 1)
            crop["left"] = _integer(0, width - crop["width"] + 1)
            if mask is None or self._varied(TF.crop(mask, **crop)):
                break
        return crop

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Cuts out the crop."""
        return self._call_kernel(TF.crop, inpt, **params)

    def _varied(self, mask: Tensor) -> bool:
        _, counts = mask[mask != IGNORE_INDEX].unique(return_counts=True)
        return len(counts) > 1 and int(counts.max()) < self.max_ratio * int(counts.sum())


class PadTo(v2.Transform):
    """Pads at the right and at the bottom to `size`: images with grey, masks with IGNORE_INDEX."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """What is missing, as [left, top, right, bottom]."""
        height, width = v2.query_size(flat_inputs)
        return {"padding": [0, 0, max(0, self.size - width), max(0, self.size - height)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Larger inputs pass as they are."""
        fill = IGNORE_INDEX if isinstance(inpt, tv_tensors.Mask) else _GREY
        return self._call_kernel(TF.pad, inpt, padding=params["padding"], fill=fill)


class _ImageTransform(v2.Transform, ABC):
    """Changes uint8 images alone, through float values 0..255."""

    _transformed_types = (tv_tensors.Image,)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Rounds and clips at the end."""
        pixels = self.change(inpt.as_subclass(Tensor).float())
        return tv_tensors.wrap(pixels.round().clamp(0, 255).to(torch.uint8), like=inpt)

    @abstractmethod
    def change(self, pixels: Tensor) -> Tensor:
        """(3, H, W) float 0..255 -> the same."""


class PhotometricDistortion(_ImageTransform):
    """Brightness, contrast, saturation and hue, each with probability 0.5 (PhotoMetricDistortion of mmsegmentation)."""

    def change(self, pixels: Tensor) -> Tensor:
        """See the class."""
        if _coin():
            pixels = (pixels + _uniform(-32, 32)).clamp(0, 255)
        contrast_first, contrast = _coin(), _uniform(0.5, 1.5) if _coin() else 1.0
        if contrast_first:
            pixels = (pixels * contrast).clamp(0, 255)
        if _coin():
            pixels = scale_saturation(pixels, _uniform(0.5, 1.5))
        if _coin():
            # 18 of OpenCV's 180 steps of hue.
            pixels = TF.adjust_hue(pixels / 255, _uniform(-18, 18) / 180) * 255
        return pixels if contrast_first else pixels * contrast


class HSVJitter(_ImageTransform):
    """Moves hue, saturation and value by -10..9 each, in OpenCV's units (transform.py of the Pascal code)."""

    def change(self, pixels: Tensor) -> Tensor:
        """See the class."""
        pixels = TF.adjust_hue(pixels / 255, _integer(-10, 10) / 180) * 255
        pixels = _shift_saturation(pixels, _integer(-10, 10))
        value = pixels.amax(0)
        return pixels * (value + _integer(-10, 10)).clamp(0, 255) / value.clamp(min=1)


def scale_saturation(pixels: Tensor, factor: float) -> Tensor:
    """Multiplies the S of HSV, at most to 1; H and V stay: (3, H, W) 0..255 -> the same."""
    value = pixels.amax(0)
    spread = value - pixels  # 0 for the largest channel; S = max(spread) / V
    return value - spread * torch.minimum(torch.tensor(factor), value / spread.amax(0).clamp(min=1e-3))


def _shift_saturation(pixels: Tensor, shift: int) -> Tensor:
    """Adds to the S of HSV in units of 1/255; grey pixels have no hue and stay grey."""
    value = pixels.amax(0)
    spread = value - pixels
    largest = spread.amax(0)
    wanted = (largest + shift / 255 * value).clamp(min=0).minimum(value)
    return value - spread * wanted / largest.clamp(min=1e-3)


class RandomScale(v2.Transform):
    """Scales both sides by one factor U(low, high), images bicubic, masks nearest."""

    def __init__(self, low: float = 0.5, high: float = 2.0):
        super().__init__()
        self.low, self.high = low, high

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The new size."""
        factor = _uniform(self.low, self.high)
        return {"size": [max(1, int(side * factor)) for side in v2.query_size(flat_inputs)]}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """See the class."""
        return self._call_kernel(TF.resize, inpt, interpolation=v2.InterpolationMode.BICUBIC, antialias=False, **params)


def ade_train(size: int) -> v2.Transform:
    """ade20k_vpd.py:11-22, there with size 512."""
    return v2.Compose(
        [
            RandomFit(4 * size, size, ratio=(0.5, 2.0)),
            CategoryCrop(size),
            v2.RandomHorizontalFlip(0.5),
            PhotometricDistortion(),
            PadTo(size),
        ]
    )


def cityscapes_train(size: int) -> v2.Transform:
    """cityscapes_to_darkzurich_512x512.py, there with size 512: images of 1280x720 at most."""
    return v2.Compose(
        [
            RandomFit(size * 5 // 2, size * 45 // 32),
            CategoryCrop(size),
            v2.RandomHorizontalFlip(0.5),
            PhotometricDistortion(),
            PadTo(size),
        ]
    )


def pascal_train(size: int) -> v2.Transform:
    """VOC_config.py:15-28, there with size 512: the crop is squashed to a square when the image is smaller than it."""
    return v2.Compose(
        [
            HSVJitter(),
            v2.RandomHorizontalFlip(0.5),
            RandomScale(0.5, 2.0),
            CategoryCrop(size, max_ratio=1.0, tries=1),
            v2.Resize((size, size), antialias=False),
        ]
    )


def user_train(size: int) -> v2.Transform:
    """For data that nothing is known about: scales of 0.75 to 1.5 around `size` as shorter side, crops and flips."""
    return v2.Compose(
        [
            RandomFit(4 * size, size, ratio=(0.75, 1.5)),
            CategoryCrop(size),
            v2.RandomHorizontalFlip(0.5),
            PadTo(size),
        ]
    )


def flip_train(size: int) -> v2.Transform:
    """A square of `size` and flips, nothing else: for images that are of that size already."""
    return v2.Compose([v2.Resize((size, size)), v2.RandomHorizontalFlip(0.5)])


TRAIN_TRANSFORMS: dict[str, Callable[[int], v2.Transform]] = {
    "ade": ade_train,
    "cityscapes": cityscapes_train,
    "pascal": pascal_train,
    "user": user_train,
    "flip": flip_train,
}


def train_transform(name: str, size: int) -> v2.Transform:
    """(image, mask) -> a square of `size` pixels; `name` is one of TRAIN_TRANSFORMS."""
    if name not in TRAIN_TRANSFORMS:
        raise ValueError(f"unknown segmentation transform {name!r}; choose from {', '.join(TRAIN_TRANSFORMS)}")
    return TRAIN_TRANSFORMS[name](size)


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * torch.rand(()).item()


def _integer(low: int, high: int) -> int:
    """low .. high - 1."""
    return int(torch.randint(low, high, ()))


def _coin() -> bool:
    return torch.rand(()).item() < 0.5
