"""What processes do together that `accelerate launch` or `torchrun` started, on one or several machines."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from tadp_cli.console.launchers import ProcessShare

T = TypeVar("T")


@contextmanager
def joined(share: ProcessShare) -> Iterator[None]:
    """Entered once all processes are there; within, `gathered` works."""
    if share.world_size == 1:
        yield
        return
    import torch.distributed as dist

    # On the CPU, and patient: shares of a large data set may end hours apart.
    dist.init_process_group("gloo", timeout=timedelta(days=7))
    try:
        yield
    finally:
        dist.destroy_process_group()


def gathered(mine: T, share: ProcessShare) -> list[T]:
    """Each process's value, once the last has one: a launcher stops all where one ends with an error."""
    if share.world_size == 1:
        return [mine]
    import torch.distributed as dist

    values = [mine] * share.world_size
    dist.all_gather_object(values, mine)
    return values
