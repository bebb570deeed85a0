"""What to do where memory does not suffice."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def out_of_memory_named() -> Iterator[None]:
    """Inside, an allocator's failure becomes one line with the settings to change."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise RuntimeError(
            "out of memory: halve train.batch_size and double train.accumulate (the same images a step), set "
            f"train.gradient_checkpointing=true or train.precision=bf16 ({str(error).splitlines()[0]})"
        ) from error
