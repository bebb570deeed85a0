"""Which split of a step into passes, and which precision, fits into memory."""

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace

from tadp_heads.training.config import TrainConfig

_UNITS = {"MB": 10**6, "GB": 10**9, "MIB": 2**20, "GIB": 2**30}
GB = 10**9
PICKED = ("batch_size", "accumulate", "gradient_checkpointing", "precision")
"""Settings of [train] that are picked. The images of a step stay the same."""

Measure = Callable[[TrainConfig], float]
"""Bytes that training with these settings takes; grows with the batch size."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What was picked."""

    config: TrainConfig
    needed: float
    """Bytes, of one process."""

    def __str__(self) -> str:
        config = self.config
        return (
            f"train.batch_size={config.batch_size} train.accumulate={config.accumulate} train.gradient_checkpointing="
            f"{str(config.gradient_checkpointing).lower()} train.precision={config.precision}: "
            f"{self.needed / GB:.1f} GB, {config.effective_batch} images per step as before"
        )


def parse_memory(text: str) -> int:
    """ "12GB" (10^9), "11.5GiB" (2^30), "800MB" -> bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([MG]i?B)", text.strip(), re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise ValueError(f"a memory of {text!r}: expected a number with MB, GB, MiB or GiB, such as 12GB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def fit_into(config: TrainConfig, limit: int, measure: Measure, *, half: bool, normed: bool, processes: int = 1) -> Fit:
    """The settings as they are where they fit; else bfloat16 (`half`: the device has it, and it is faster there), and
    the largest batch that fits.

    Gradient checkpointing takes a third more time and smaller batches take none, so batches get smaller first, down to
    one image. Not so with BatchNorm in the trained modules (`normed`): it learns other things from fewer images.
    """
    needed = measure(config)
    if needed <= limit:
        return Fit(config=config, needed=needed)
    if half and config.precision in ("auto", "fp32", "tf32"):
        config = replace(config, precision="bf16")
    plain = [] if config.gradient_checkpointing else _splits(config, processes)
    thrifty = [replace(split, gradient_checkpointing=True) for split in _splits(config, processes)]
    fit_plain, fit_thrifty = bisect_right(plain, float(limit), key=measure), 0
    if not fit_plain or (normed and fit_plain < len(plain)):
        fit_thrifty = bisect_right(thrifty, float(limit), key=measure)
    if not fit_plain and not fit_thrifty:
        raise ValueError(_too_little(limit, measure(thrifty[0]), thrifty[0]))
    picked = thrifty[fit_thrifty - 1] if fit_thrifty > fit_plain else plain[fit_plain - 1]
    return Fit(config=picked, needed=measure(picked))


def _splits(config: TrainConfig, processes: int) -> list[TrainConfig]:
    """All with the same images per step and at most as many per pass, the smallest batch first."""
    total, most = config.effective_batch, config.batch_size
    sizes = [size for size in range(1, most + 1) if total % size == 0 and (total // size) % processes == 0]
    return [replace(config, batch_size=size, accumulate=total // size) for size in sizes]


def _too_little(limit: int, least: float, config: TrainConfig) -> str:
    return (
        f"--fit {limit / GB:g}GB is too little for this recipe: it takes {least / GB:.1f} GB with {config.batch_size} "
        f"image a pass, gradient checkpointing and {config.precision}; train less of it (train.lora_rank=8, "
        "train.freeze, or train.unet_lr_scale=0 for the head alone) or smaller images (train.size)"
    )
