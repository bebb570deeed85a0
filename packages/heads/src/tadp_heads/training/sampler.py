"""Which images a step sees: a function of the seed and the position in an endless sequence, and of nothing else."""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from tadp_heads.seeds import epoch_seed, mirror_seed, mixed_seed, seed_torch
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.parallel.data_parallel import Share

_CROP, _NUMBER, _VERSION = 1, 2, 3
"""Purposes of random numbers: a varied version of an image, the number of an encoded one, that of a prompt."""


class Pick(NamedTuple):
    """One image of the data set."""

    index: int  # type: ignore[assignment]  # in place of the tuple's method
    mirrored: bool

    @property
    def key(self) -> str:
        """A name for it."""
        return f"{self.index} {'mirrored' if self.mirrored else 'plain'}"


def pick(config: TrainConfig, position: int, count: int) -> Pick:
    """The image at a position of the sequence over `count` images; epochs are shuffled one after the other, so that
    every image comes equally often."""
    epoch, place = divmod(position, count)
    coin = torch.rand(1, generator=torch.Generator().manual_seed(mirror_seed(config.seed, position)))
    return Pick(int(_order(config.seed, epoch, count)[place]), config.mirrors and bool(coin > 0.5))


def all_picks(config: TrainConfig, count: int) -> list[Pick]:
    """Everything that `pick` can give."""
    mirrors = (False, True) if config.mirrors else (False,)
    return [Pick(index, mirrored) for index in range(count) for mirrored in mirrors]


def draw_version(config: TrainConfig, position: int, count: int) -> int:
    """Which of the `count` prompts of the image at a position it is seen with."""
    generator = torch.Generator().manual_seed(mixed_seed(config.seed, _VERSION, position))
    return int(torch.randperm(count, generator=generator)[0])


def seed_variation(config: TrainConfig, *key: int) -> None:
    """Seed torch's generators, from which transforms draw; `key`: the position, or an image and a version's number."""
    seed_torch(mixed_seed(config.seed, _CROP, *key))


def seed_version(config: TrainConfig, position: int) -> None:
    """Seed torch's generators, from which the number of an encoded version is drawn."""
    seed_torch(mixed_seed(config.seed, _NUMBER, position))


class Positions:
    """The positions of each micro-batch of this process, step after step; nothing is listed ahead."""

    def __init__(self, share: Share, steps: range):
        self.share, self.steps = share, steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps:
            yield from self.share.positions(step)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(epoch_seed(seed, epoch)))
