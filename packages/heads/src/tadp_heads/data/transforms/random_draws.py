"""Draws of the transforms, from torch's global generator, which DataLoader seeds in each worker."""

import torch


def uniform(low: float, high: float) -> float:
    """A number of [low, high)."""
    return low + (high - low) * torch.rand(()).item()


def integer(low: int, high: int) -> int:
    """A whole number of low .. high - 1."""
    return int(torch.randint(low, high, ()))


def coin(probability: float = 0.5) -> bool:
    """True with the probability."""
    return torch.rand(()).item() < probability
