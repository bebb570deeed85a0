"""The ranges of image values, and the only functions that change them."""

import torch
from torch import Tensor

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def to_sd_range(images: Tensor) -> Tensor:
    """uint8 0..255 -> float32 [-1, 1], the range Stable Diffusion was trained on."""
    return images.as_subclass(Tensor).float() / 127.5 - 1


def to_imagenet_range(images: Tensor) -> Tensor:
    """uint8 0..255 -> float32 standardised by ImageNet's mean and deviation, about [-2.1, 2.6].

    What the public code feeds the backbone for Cityscapes and detection (docs/reference.md, section 5).
    """
    return _standardised(images.as_subclass(Tensor).float() / 255)


def sd_to_imagenet_range(images: Tensor) -> Tensor:
    """[-1, 1] -> what `to_imagenet_range` gives."""
    return _standardised((images + 1) / 2)


RANGES = {"sd": to_sd_range, "imagenet": to_imagenet_range}


def _standardised(images: Tensor) -> Tensor:
    """[0, 1] -> mean 0 and deviation 1 per channel, by ImageNet's statistics."""
    mean = torch.tensor(_IMAGENET_MEAN, device=images.device)[:, None, None]
    std = torch.tensor(_IMAGENET_STD, device=images.device)[:, None, None]
    return (images - mean) / std
