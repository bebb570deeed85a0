"""What to do where memory does not suffice."""

import errno
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_NO_MEMORY = re.compile(
    r"out of memory|can(no|')t allocate memory|can't start new thread|failed to map segment", re.IGNORECASE
)
_SIZE = re.compile(r"(?:allocate|allocating) ([\d.]+ (?:[KMGT]i?B|bytes))")
_IN_TRAINING = (
    "halve train.batch_size and double train.accumulate (the same images per step), set train.gradient_checkpointing="
    "true or train.precision=bf16"
)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, of the machine or of a GPU: Python, NumPy and torch each raise errors of their own."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError | ImportError) and bool(_NO_MEMORY.search(str(error)))


def memory_asked(error: BaseException) -> str:
    """Such as " (it takes 2.00 GiB more)", of an error for which `is_out_of_memory` holds; "" where it doesn't say."""
    found = _SIZE.search(str(error))
    if found is None:
        return ""
    number, unit = found[1].split()
    return f" (it takes {f'{int(number) / 2**30:.2f} GiB' if unit == 'bytes' else found[1]} more)"


@contextmanager
def out_of_memory_named() -> Iterator[None]:
    """Inside, an allocator's failure becomes one line with what to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise RuntimeError(f"out of memory{memory_asked(error)}: {_IN_TRAINING}") from error


def where_memory_lacks(work: Callable[[list[T]], None], batch: Sequence[T]) -> Iterator[tuple[T, str]]:
    """Do the work on a batch, or on one item after the other where it is too much at once; yields (item that is too
    large by itself, `memory_asked` of the error)."""
    error = _memory_error(work, batch)
    if error is None:
        return
    for item in batch:
        error = error if len(batch) == 1 else _memory_error(work, [item])
        if error is not None:
            yield item, error


def _memory_error(work: Callable[[list[T]], None], batch: Sequence[T]) -> str | None:
    """Only the error's words: its traceback would keep the memory."""
    try:
        work(list(batch))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return memory_asked(error)
    return None
