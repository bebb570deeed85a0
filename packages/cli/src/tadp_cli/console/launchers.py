"""Whether this process is one of several that a launcher started, or has a cluster's variables without one."""

import os

_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What `accelerate launch` and `torchrun` set, all of them."""
_RANKS = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    *("PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    *("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"),
)
"""Where accelerate looks for ranks; batch systems and templates of job scripts set some of them too."""


def forget_other_launchers() -> None:
    """Without a launcher this process is the only one, whatever a cluster has left in its environment."""
    if not all(os.environ.get(name) for name in _LAUNCHER):
        for name in _RANKS:
            os.environ.pop(name, None)
