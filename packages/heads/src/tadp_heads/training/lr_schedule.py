"""Learning rates over the steps of a run (docs/reference.md, section 4)."""

import math

from tadp_heads.training.config import TrainConfig

_MMCV_WARMUP_RATIO = 1e-6
"""Where the reference's warm-up begins."""


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """What the rate of update `step`, counted from 0, is in units of the peak."""
    floor = config.min_lr / config.lr
    if config.schedule == "rise-fall":
        return _rise_fall((step + 1) / config.warmup, config.power, floor)
    if config.schedule == "poly-mmcv":
        # The warm-up is a factor on the rate that the schedule has at that step, as in mmcv.
        return _poly(step / config.steps, config.power, floor) * _mmcv_warmup(step, config.warmup)
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(config.steps - config.warmup, 1)
    if config.schedule == "poly":
        return _poly(progress, config.power, floor)
    if config.schedule == "cosine":
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
    return 1.0


def _poly(progress: float, power: float, floor: float) -> float:
    return floor + (1 - floor) * (1 - progress) ** power


def _mmcv_warmup(step: int, warmup: int) -> float:
    return 1 - (1 - step / warmup) * (1 - _MMCV_WARMUP_RATIO) if step < warmup else 1.0


def _rise_fall(position: float, power: float, floor: float) -> float:
    """`position`: steps done in units of those up to the peak (models/depth/train_tadp_depth.py:240-250)."""
    if position < 1:
        return floor + (1 - floor) * position**power
    return max(1 - (1 - floor) * (position - 1) ** power, floor)
