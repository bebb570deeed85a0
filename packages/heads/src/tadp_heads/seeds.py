"""Random numbers of a prediction: a function of the image alone, so that every call and every process gets the same."""

from collections.abc import Sequence
from hashlib import sha256

import torch
from torch import Tensor


def image_generators(images: Tensor | Sequence[Tensor], seed: int, window: int = 0) -> list[torch.Generator]:
    """A CPU generator per image, seeded by `seed`, the SHA-256 of its pixels, and the index of the window.

    `images`: uint8 (3, H, W) each. The noise drawn depends neither on the batch an image is in, nor on the order of
    images, nor on the process or device.
    """
    return [torch.Generator().manual_seed(_seed_of(image, seed, window)) for image in images]


def _seed_of(image: Tensor, seed: int, window: int) -> int:
    pixels = image.as_subclass(Tensor).cpu().contiguous()
    digest = sha256(f"{seed} {window} {tuple(pixels.shape)} ".encode() + pixels.numpy().tobytes()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)
