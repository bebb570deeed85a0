"""BatchNorm over several processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from tadp_heads.training.parallel.data_parallel import Share


def with_whole_passes(head: nn.Module, share: Share, device: torch.device) -> nn.Module:
    """The head, its BatchNorms normalising by all images of a pass that is split over processes, not by those of one.

    On GPUs alone, as torch has it; on the CPU each process normalises by its own images.
    """
    if not share.split or device.type != "cuda":
        return head
    return nn.SyncBatchNorm.convert_sync_batchnorm(head)


@contextmanager
def joined_statistics(module: nn.Module, share: Share, processes: int, rank: int) -> Iterator[None]:
    """Inside is one step; after it, all processes have the same running statistics.

    Where processes had complete micro-batches, they equal those of one process that computes all in turn. Where
    micro-batches were shared, they are the mean over processes.
    """
    norms: list[Any] = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    if processes == 1 or not norms:
        yield
        return
    before = [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]
    yield
    for norm, olds in zip(norms, before, strict=True):
        left = (1 - norm.momentum) ** share.passes  # of what was there before this process' passes
        weight = 1 / processes if share.split else left ** (processes - 1 - rank)
        for now, old in zip((norm.running_mean, norm.running_var), olds, strict=True):
            added = (now - left * old) * weight
            dist.all_reduce(added)
            now.copy_((left if share.split else left**processes) * old + added)
        if not share.split:
            norm.num_batches_tracked += share.accumulate - share.passes
