"""Processes of a torch process group, which evaluate together."""

import torch.distributed as dist


def rank_and_processes() -> tuple[int, int]:
    """(index of this process, number of processes); (0, 1) where there is no process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1
