"""Which images a step sees: a function of the seed and the place in an endless sequence, and of nothing else."""

from functools import lru_cache

import torch
from torch import Tensor

from tadp_cli.config.recipe import TrainConfig

_VERSION = 3
"""What is drawn for, beside the reader's purposes."""

Pick = tuple[int, bool]
"""Index of an image in the data set; whether it is mirrored."""


def pick(config: TrainConfig, position: int, count: int) -> Pick:
    """The image at a place of the sequence over `count` images; epochs are shuffled one after the other, so that every
    image comes equally often."""
    epoch, place = divmod(position, count)
    coin = torch.rand(1, generator=torch.Generator().manual_seed(position * 31 + config.seed))
    return int(_order(config.seed, epoch, count)[place]), config.mirrors and bool(coin > 0.5)


def draw_versions(config: TrainConfig, position: int, count: int) -> list[int]:
    """Under which of the `count` versions of its prompt the image at a place is seen: two different ones where their
    predictions are compared, else one."""
    generator = torch.Generator().manual_seed(_mixed(config.seed, _VERSION, position))
    return torch.randperm(count, generator=generator)[: config.views].tolist()


def seed_random(*key: int) -> None:
    """Seed torch's generators, which the transforms draw from, by what they draw for."""
    torch.manual_seed(_mixed(*key))


def _mixed(*key: int) -> int:
    """A seed for these numbers in this order."""
    mixed = 0
    for part in key:
        mixed = (mixed * 1_000_003 + part + 1) % 2**63
    return mixed


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 7919 + epoch))
