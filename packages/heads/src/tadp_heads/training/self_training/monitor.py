"""Detects a collapse of self-training from predictions only, without labels."""

# K classes

from typing import Any

import torch
from torch import Tensor

_MOMENTUM = 0.95
WINDOW = 20
"""Batches after which the first value stands."""


class CollapseMonitor:
    """Watches how many classes the teacher predicts on the target.

    Under confirmation bias a few classes take all predictions over: the entropy of their distribution falls.
    """

    def __init__(self, classes: int, least: float):
        """`least`: share of the first effective number of classes below which it has collapsed; 0: never."""
        self.least = least
        self.shares = torch.zeros(classes)
        """(K,) running mean of the share of each class among the predictions."""
        self.first = 0.0
        """Effective number of classes after WINDOW batches; 0: not known yet."""
        self.batches = 0

    @property
    def diversity(self) -> float:
        """Effective number of classes predicted, exp(entropy): 1 to K."""
        shares = self.shares / self.shares.sum().clamp_min(torch.finfo().tiny)
        return float(torch.special.entr(shares).sum().exp())

    @property
    def collapsed(self) -> bool:
        """Whether too few classes are left."""
        return self.first > 0 and self.diversity < self.least * self.first

    def update(self, counts: Tensor) -> None:
        """Predictions of each class (K,) in one batch; a batch without any says nothing."""
        total = counts.sum()
        if not total:
            return
        shares = counts.float() / total
        self.shares = shares if not self.batches else _MOMENTUM * self.shares + (1 - _MOMENTUM) * shares
        self.batches += 1
        if self.batches == WINDOW:
            self.first = self.diversity

    def state_dict(self) -> dict[str, Any]:
        """To resume from."""
        return {"shares": self.shares, "first": self.first, "batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self.shares, self.first, self.batches = state["shares"].clone(), state["first"], state["batches"]
