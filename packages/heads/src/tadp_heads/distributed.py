"""Processes of a torch process group, which share work."""

from typing import Any, TypeVar

import torch.distributed as dist

T = TypeVar("T")


def rank_and_processes() -> tuple[int, int]:
    """(index of this process, number of processes); (0, 1) where there is no process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gathered(mine: T, group: Any = None) -> list[T]:
    """Each process's value, once the last one has it; RuntimeError where one of them has ended before."""
    values = [mine] * dist.get_world_size(group)
    try:
        dist.all_gather_object(values, mine, group=group)
    except RuntimeError as error:  # its connections were closed
        raise RuntimeError(
            "another process, maybe on another machine, ended before all were done; see its error, then run the same "
            "command again on all machines"
        ) from error
    return values
