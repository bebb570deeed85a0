"""A training in one line of text: loss, learning rate, images per second and memory."""

import resource
import sys
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch

_WINDOW = 32
"""Steps over which the speed is averaged."""


class StepText:
    """Called once after every step."""

    def __init__(self, images_per_step: int):
        """Of all processes together."""
        self.images = images_per_step
        self.times: deque[float] = deque(maxlen=_WINDOW)

    def __call__(self, line: Mapping[str, Any]) -> str:
        """`line`: the step's "loss" and "lr"."""
        self.times.append(time.monotonic())
        parts = [f"loss {line['loss']:.4f}", f"lr {line['lr']:.1e}"]
        passed = self.times[-1] - self.times[0]
        if passed > 0:
            parts.append(f"{self.images * (len(self.times) - 1) / passed:.1f} images/s")
        return ", ".join((*parts, f"{peak_memory() / 2**30:.1f} GB"))


def peak_memory() -> int:
    """Bytes that this process has had at most: of the GPU that it computes on, else of the machine."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
