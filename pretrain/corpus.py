"""The images that the tiny models learn from: an endless stream of Scenes in the four trained domains, in chunks."""

from typing import NamedTuple

import numpy as np

from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import TRAINED_DOMAINS, Scene, sample_scene

SIZE = 64


class Chunk(NamedTuple):
    """Scenes `first` .. `first + N - 1` of `seed`, each in one domain in turn."""

    images: np.ndarray  # (N, 64, 64, 3) uint8
    masks: np.ndarray  # (N, 64, 64) uint8
    seed: int
    first: int

    def scene(self, index: int) -> Scene:
        return sample_scene(self.seed, self.first + index)

    def domain(self, index: int) -> str:
        return _domain(self.first + index)


class Corpus:
    """Chunks of fresh scenes, rendered when a training reaches them; the last one is kept in memory."""

    def __init__(self, seed: int, size: int = 2400, passes: int = 3):
        """size: scenes per chunk. passes: how often a training draws each scene, on average."""
        self.seed, self.size, self.passes = seed, size, passes
        self._chunk: Chunk | None = None

    def chunk(self, step: int, batch_size: int) -> Chunk:
        """The chunk from which step number `step` draws its batch."""
        first = step * batch_size // (self.size * self.passes) * self.size
        if self._chunk is None or self._chunk.first != first:
            self._chunk = render_chunk(self.seed, first, self.size)
        return self._chunk


def render_chunk(seed: int, first: int, count: int) -> Chunk:
    drawn = [render(sample_scene(seed, i), _domain(i), SIZE) for i in range(first, first + count)]
    return Chunk(np.stack([d.image for d in drawn]), np.stack([d.mask for d in drawn]), seed, first)


def _domain(index: int) -> str:
    return TRAINED_DOMAINS[index % len(TRAINED_DOMAINS)]
