"""Seeds: each is a function of what is drawn, so that no draw depends on the draws before it.

The formulas are part of what a seed means: with others, a run would resume with other images than it began with.
"""

import random
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

SEED_LIMIT = 2**32
"""NumPy's generator takes seeds below this."""


def seed_all(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch; in [0, SEED_LIMIT)."""
    random.seed(seed)
    np.random.seed(seed)
    seed_torch(seed)


def seed_torch(seed: int) -> None:
    """Seed torch's global generators, those of accelerators included."""
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:  # a build for CUDA formats the stack at each seed for a device that is not there: milliseconds
        torch.default_generator.manual_seed(seed)


def mixed_seed(*key: int) -> int:
    """A seed in [0, 2^63) for these numbers in this order, such as a run's seed, a purpose and a position."""
    mixed = 0
    for part in key:
        mixed = (mixed * 1_000_003 + part + 1) % 2**63
    return mixed


def numbered_seed(seed: int, number: int) -> int:
    """A seed for each step or micro-batch of a run with this seed."""
    return seed * 1_000_003 + number


def micro_batch_seed(seed: int, number: int, rank: int = 0) -> int:
    """In [0, SEED_LIMIT), of what is drawn in a forward pass, such as dropout; `rank`: of the process, where several
    share the micro-batch."""
    return (numbered_seed(seed, number) + rank * 7_919_011) % SEED_LIMIT


def epoch_seed(seed: int, epoch: int) -> int:
    """Of the order of the images in an epoch."""
    return seed * 7919 + epoch


def mirror_seed(seed: int, position: int) -> int:
    """Of whether the image at a position is mirrored."""
    return position * 31 + seed


def image_generators(images: Tensor | Sequence[Tensor], seed: int, window: int = 0) -> list[torch.Generator]:
    """A CPU generator per image, for what a prediction draws, seeded by `seed`, the SHA-256 of its pixels, and the
    index of the window.

    `images`: uint8 (3, H, W) each. The noise drawn depends neither on the batch an image is in, nor on the order of
    images, nor on the process or device.
    """
    return [torch.Generator().manual_seed(_seed_of(image, seed, window)) for image in images]


def _seed_of(image: Tensor, seed: int, window: int) -> int:
    pixels = image.as_subclass(Tensor).cpu().contiguous()
    digest = sha256(f"{seed} {window} {tuple(pixels.shape)} ".encode() + pixels.numpy().tobytes()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)
