"""Whether this process is one of several that a launcher started, or has a cluster's variables without one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What `accelerate launch` and `torchrun` set, all of them."""
_RANKS = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    *("PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    *("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"),
)
"""Where accelerate looks for ranks; batch systems and templates of job scripts set some of them too."""


@contextmanager
def without_other_launchers() -> Iterator[bool]:
    """Within, ranks that no launcher set are out of the environment; yields whether this process is the only one.

    The environment is the caller's and comes back as it was.
    """
    if all(os.environ.get(name) for name in _LAUNCHER):
        yield os.environ["WORLD_SIZE"] == "1"
        return
    known = {name: os.environ.pop(name) for name in _RANKS if name in os.environ}
    try:
        yield True
    finally:
        os.environ.update(known)
