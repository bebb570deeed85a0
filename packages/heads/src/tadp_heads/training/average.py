"""Exponential moving average of the weights (EMA)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """The average of parameters; its decay rises from 0 as (1 + n) / (10 + n) over updates (diffusers' EMAModel)."""

    def __init__(self, parameters: Iterable[nn.Parameter], decay: float):
        self.decay, self.updates = decay, 0
        self.weights = [parameter.detach().clone() for parameter in parameters]
        self._stored: list[Tensor] = []

    @torch.no_grad()
    def update(self, parameters: Iterable[nn.Parameter]) -> None:
        """Take the weights after an optimizer step in."""
        self.updates += 1
        number = self.updates - 1
        decay = min((1 + number) / (10 + number), self.decay) if number else 0.0
        for average, parameter in zip(self.weights, parameters, strict=True):
            average.sub_((1 - decay) * (average - parameter))

    @torch.no_grad()
    def copy_to(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give the parameters the averaged weights."""
        for average, parameter in zip(self.weights, parameters, strict=True):
            parameter.copy_(average)

    def store(self, parameters: Iterable[nn.Parameter]) -> None:
        """Keep the parameters' weights, on the CPU, for `restore`."""
        self._stored = [parameter.detach().cpu().clone() for parameter in parameters]

    @torch.no_grad()
    def restore(self, parameters: Iterable[nn.Parameter]) -> None:
        """Put the weights back that `store` kept."""
        for stored, parameter in zip(self._stored, parameters, strict=True):
            parameter.copy_(stored)
        self._stored = []

    def state_dict(self) -> dict[str, Any]:
        """By the names that diffusers' EMAModel has for them."""
        return {"decay": self.decay, "optimization_step": self.updates, "shadow_params": self.weights}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put a saved state in, also one of diffusers' EMAModel."""
        weights: Sequence[Tensor] = state["shadow_params"]
        for average, saved in zip(self.weights, weights, strict=True):
            average.copy_(saved)
        self.updates = state["optimization_step"]
