"""Padding to sizes that the network takes, and cutting it off again."""

# H W image pixels, h w cells

import torch.nn.functional as F
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """(B, C, H, W) -> padded with zeros at the bottom and the right, (bottom, right) as added.

    Zero is mid grey for an image in [-1, 1]; so does the paper's depth model (docs/reference.md, section 2).
    """
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return (F.pad(x, (0, right, 0, bottom)) if bottom or right else x), (bottom, right)


def padded_size(image_size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """(H, W) of an image after `pad_to_multiple`."""
    height, width = image_size
    return height + -height % multiple, width + -width % multiple


def cut_to(x: Tensor, image_size: tuple[int, int], stride: int) -> Tensor:
    """Keep the cells of (B, C, h, w) that an image of (H, W) pixels touches."""
    return x[..., : -(-image_size[0] // stride), : -(-image_size[1] // stride)]
