"""What `gpu.py` measures, where, and what happens when it doesn't fit."""

# N cells, D channels a head

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

Row = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Size:
    """What is measured."""

    name: str
    """As `random_backbone` knows it."""

    side: int
    """Latent cells along one side of an image."""

    attention: tuple[tuple[int, int], ...]
    """(N, D) of layers."""

    blocks: tuple[tuple[int, int], ...]
    """(channels, cells along one side) of resnet blocks."""

    kernel_batches: tuple[int, ...]
    batches: tuple[int, ...]
    training_batches: tuple[int, ...]
    product: int
    """Side of the matrices whose product is the ceiling."""

    rounds: int


SIZES = {
    "sd15": Size(
        name="sd15",
        side=64,
        attention=((4096, 40), (1024, 80), (256, 160)),
        blocks=((320, 64), (640, 32), (1280, 16)),
        kernel_batches=(1, 16),
        batches=(1, 16),
        training_batches=(2, 8),
        product=8192,
        rounds=10,
    ),
    "toy": Size(
        name="toy",
        side=8,
        attention=((64, 16),),
        blocks=((64, 8),),
        kernel_batches=(1,),
        batches=(1,),
        training_batches=(2,),
        product=64,
        rounds=1,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where and until when is measured."""

    device: torch.device
    size: Size
    deadline: float
    """In `time.monotonic()`; what has not begun by then is left out, and its row says so."""

    ceiling: float
    """TFLOP/s of a bfloat16 matrix product."""

    def guarded(self, measure: Callable[[], Row]) -> Row:
        """The measured cells of a row, or a note."""
        if time.monotonic() > self.deadline:
            return {"note": "left out: the time was up"}
        try:
            return measure()
        except torch.OutOfMemoryError:
            return {"note": "out of memory"}
        finally:
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()


def short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
