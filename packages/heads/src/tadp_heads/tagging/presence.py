"""What was found in the images of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Presence:
    """How likely each class is in each image. Of labels it knows nothing."""

    names: tuple[str, ...]
    probabilities: Mapping[str, Tensor]
    """{image id: (K,)}."""
    threshold: float

    def named(self, image_id: str) -> list[str]:
        """The classes at or above the threshold, in the order of `names`."""
        return [
            name
            for name, value in zip(self.names, self.probabilities[image_id].tolist(), strict=True)
            if value >= self.threshold
        ]

    def of(self, ids: Sequence[str]) -> Tensor:
        """(B, K) for these images."""
        return torch.stack([self.probabilities[image_id] for image_id in ids])
