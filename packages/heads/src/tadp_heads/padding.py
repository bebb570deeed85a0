"""Images of any size for backbones that take multiples of their deepest stride."""

from torch import Tensor
from torch.nn import functional as F


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1], padded right and bottom to multiples of `multiple` with 0, which is mid grey.

    As the reference pads 480 to 512 (docs/reference.md, section 2: tadp_depth.py:199-218).
    """
    height, width = images.shape[-2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple))
