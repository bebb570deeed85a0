"""From which confidence a prediction counts as a label, class by class."""

# K classes, N predictions

from typing import Any

import torch
from torch import Tensor

_MOMENTUM = 0.9
"""Of the running mean over batches."""


class ClassConfidence:
    """Thresholds in proportion to the mean confidence in each class (FreeMatch, Wang et al. 2023): a class that the
    teacher is less sure of gets labels too."""

    def __init__(self, classes: int, highest: float):
        """`highest`: the threshold of the class that the teacher is surest of."""
        self.highest = highest
        self.means = torch.zeros(classes)
        """(K,) of the classes seen, 0 of the others."""

    @property
    def thresholds(self) -> Tensor:
        """(K,) in [0, 1]; `highest` for a class that was never predicted."""
        surest = self.means.max().clamp_min(torch.finfo().tiny)
        return torch.where(self.means > 0, self.highest * self.means / surest, self.highest)

    def update(self, ids: Tensor, confidence: Tensor) -> None:
        """Take predictions in: class ids (N,) and their probabilities (N,)."""
        sums = torch.zeros_like(self.means).index_add(0, ids, confidence.float())
        counts = ids.bincount(minlength=len(self.means))
        seen = counts > 0
        now = sums[seen] / counts[seen]
        before = torch.where(self.means[seen] > 0, self.means[seen], now)
        self.means[seen] = _MOMENTUM * before + (1 - _MOMENTUM) * now

    def state_dict(self) -> dict[str, Any]:
        """To resume from."""
        return {"means": self.means}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self.means = state["means"].clone()
