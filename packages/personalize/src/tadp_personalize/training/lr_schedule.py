"""The learning rate of each update."""

import math

from tadp_personalize.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Return the rate of update `step`, counted from 0: warm-up, then constant or falling to 0 at `config.steps`."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    if config.schedule == "linear":
        return config.learning_rate * (1 - done)
    if config.schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate
