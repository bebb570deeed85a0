"""Changes of colour for training, over uint8 tv_tensors; masks, depth and boxes pass as they are.

All randomness is torch's global generator, which DataLoader seeds in each worker.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from tadp_heads.data.transforms.random_draws import coin, integer, uniform

HUE_STEPS = 180
"""OpenCV's steps of hue in a full turn."""


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
