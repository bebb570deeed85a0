"""Which images a step sees: a function of the seed and the place in an endless sequence, and of nothing else."""

from functools import lru_cache

import torch
from torch import Tensor

from tadp_cli.recipes.recipe import TrainConfig

Pick = tuple[int, bool]
"""Index of an image in the data set; whether it is mirrored."""


def pick(config: TrainConfig, position: int, count: int) -> Pick:
    """The image at a place of the sequence over `count` images; epochs are shuffled one after the other, so that every
    image comes equally often."""
    epoch, place = divmod(position, count)
    coin = torch.rand(1, generator=torch.Generator().manual_seed(position * 31 + config.seed))
    return int(_order(config.seed, epoch, count)[place]), config.mirrors and bool(coin > 0.5)


def seed_random(*key: int) -> None:
    """Seed torch's generators, which the transforms draw from, by what they draw for."""
    mixed = 0
    for part in key:
        mixed = (mixed * 1_000_003 + part + 1) % 2**63
    torch.manual_seed(mixed)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 7919 + epoch))
