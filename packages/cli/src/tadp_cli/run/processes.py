"""What processes do together that `accelerate launch` or `torchrun` started, on one or several machines."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from tadp_cli.console.launchers import ProcessShare

START = timedelta(minutes=30)
"""How long a process waits for the others to start: where the command failed on another machine, in vain."""
_WORK = timedelta(days=7)
"""Shares of a large data set may end hours apart; a process that dies is noticed by its connections at once."""


@contextmanager
def joined(share: ProcessShare, folder: Path) -> Iterator[Callable[[Any], list[Any]]]:
    """Entered once all processes are there and see the same `folder`, which exists; on the CPU.

    Yields what gives each process's value, once the last one has it. A launcher stops its machine's processes where one
    ends with an error, and those of other machines then fail when they gather.
    """
    if share.world_size == 1:
        yield lambda mine: [mine]
        return
    import torch.distributed as dist

    from tadp_heads.distributed import gathered

    try:
        dist.init_process_group("gloo", timeout=START)
    except RuntimeError as error:
        raise RuntimeError(
            f"not all of the {share.world_size} processes started within {START}: see the other machines' errors, then "
            "run the same command again on all of them"
        ) from error
    try:
        _check_shared(folder, share)
        yield partial(gathered, group=dist.new_group(timeout=_WORK))
    finally:
        dist.destroy_process_group()


def _check_shared(folder: Path, share: ProcessShare) -> None:
    """Raise ValueError where a process does not see what the first one writes in the folder."""
    from tadp_heads.distributed import gathered

    mark = folder / f".{uuid4().hex}.part"
    if share.rank == 0:
        mark.touch()
    seen = gathered((folder / gathered(mark.name)[0]).exists())
    if share.rank == 0:
        mark.unlink()
    if not all(seen):
        raise ValueError(
            f"{folder.absolute()} is not one folder on all machines: {seen.count(False)} of {len(seen)} processes do "
            "not see the first one's files; name a --out on a file system that all machines share"
        )
