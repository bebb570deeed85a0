"""Images of any size for backbones that take multiples of their deepest stride."""

from torch import Tensor
from torch.nn import functional as F


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


def cut_padding(maps: Tensor, padded_size: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """Maps (B, C, h, w) of images that were padded right and bottom to `padded_size` -> (B, C, H, W) of the images."""
    return resize_maps(maps, padded_size)[..., : image_size[0], : image_size[1]]


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear to (H, W); maps of that size pass as they are."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)
