"""Images as a backbone takes them, in its range of values and padded to multiples of its coarsest stride; and maps back
at the image's size."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

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


def size_of(images: Tensor) -> tuple[int, int]:
    """(H, W) of images or maps (..., H, W)."""
    return images.shape[-2], images.shape[-1]


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1], padded right and bottom to multiples of `multiple` with 0, which is mid grey.

    As the reference pads 480 to 512 (docs/reference.md, section 2: tadp_depth.py:199-218).
    """
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple))


def padded_size(image_size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """(H, W) of an image after `pad_to_multiple`."""
    height, width = image_size
    return height + -height % multiple, width + -width % multiple


def multiple_of(head: Any) -> int:
    """Sides of padded images are multiples of this many pixels: the coarsest stride that the head reads."""
    return head.input_levels[-1].stride


def covered_size(head: Any, features: Sequence[Tensor]) -> tuple[int, int]:
    """(H, W) in pixels of the padded images whose levels (B, C, h, w), finest first, a head is given."""
    stride = head.input_levels[0].stride
    return features[0].shape[-2] * stride, features[0].shape[-1] * stride


def check_channels(head: Any, features: Sequence[Tensor]) -> None:
    """Raise ValueError unless the levels (B, C, h, w) have the channels of those that the head reads."""
    found, read = [feature.shape[1] for feature in features], [level.channels for level in head.input_levels]
    if found != read:
        raise ValueError(
            f"{len(found)} feature levels with {found} channels: this head reads {read}; build it with the levels of "
            "this backbone"
        )


def cut_padding(maps: Tensor, padded_size: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """Maps (B, C, h, w) of images that were padded right and bottom to `padded_size` -> (B, C, H, W) of the images."""
    return resize_maps(maps, padded_size)[..., : image_size[0], : image_size[1]]


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear to (H, W); maps of that size pass as they are."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def _standardised(images: Tensor) -> Tensor:
    """[0, 1] -> mean 0 and deviation 1 per channel, by ImageNet's statistics."""
    mean = torch.tensor(_IMAGENET_MEAN, device=images.device)[:, None, None]
    std = torch.tensor(_IMAGENET_STD, device=images.device)[:, None, None]
    return (images - mean) / std
