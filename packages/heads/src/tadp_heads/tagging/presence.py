"""Class probabilities of the images of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Presence:
    """The probability that each of K classes is in each image, as a tagger estimates it without labels."""

    names: tuple[str, ...]
    probabilities: Mapping[str, Tensor]
    """{image id: (K,) in [0, 1]}."""
    threshold: float
    """A class is named where its probability is at least this."""

    def named(self, image_id: str) -> list[str]:
        """The classes at or above the threshold, in the order of `names`."""
        return [
            name
            for name, value in zip(self.names, self.probabilities[image_id].tolist(), strict=True)
            if value >= self.threshold
        ]

    def of(self, ids: Sequence[str]) -> Tensor:
        """The probabilities (B, K) of these images; KeyError for an unknown id."""
        return torch.stack([self.probabilities[image_id] for image_id in ids])
