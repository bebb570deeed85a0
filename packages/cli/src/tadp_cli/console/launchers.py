"""This process among those that `accelerate launch` or `torchrun` started, from the environment."""

import os
from typing import NamedTuple, TypeVar

_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What `accelerate launch` and `torchrun` set, all of them."""
_RANKS = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    *("PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    *("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"),
)
"""Where accelerate looks for ranks; batch systems and templates of job scripts set some of them too."""
_Device = TypeVar("_Device", str, str | None)


def forget_other_launchers() -> None:
    """Without a launcher this process is the only one, whatever a cluster has left in its environment."""
    if not all(os.environ.get(name) for name in _LAUNCHER):
        for name in _RANKS:
            os.environ.pop(name, None)


def first_process() -> bool:
    """Whether this is the one of several processes that `accelerate launch` or `torchrun` started which prints."""
    return _number("RANK", 0) == 0


def require_one_process(command: str) -> None:
    """For commands whose stages do not share their work: several processes would do all of it, in one folder."""
    processes = _number("WORLD_SIZE", 1)
    if processes > 1:
        raise ValueError(
            f"{command} runs in one process, not in {processes}: launch several processes with `tadp train` and `eval`"
        )


class ProcessShare(NamedTuple):
    """Rank of this process, from the environment variables of `accelerate launch` and `torchrun`."""

    rank: int
    world_size: int
    device: str | None
    """One GPU for each process of a machine; None: whatever there is."""

    def device_for(self, asked: _Device) -> _Device:
        """The device asked for; this process's own GPU where any would do."""
        return (self.device or asked) if asked in (None, "cuda") else asked


ONE_PROCESS = ProcessShare(0, 1, None)


def process_share() -> ProcessShare:
    """This process's share of the work."""
    world_size = _number("WORLD_SIZE", 1)
    if world_size == 1:
        return ONE_PROCESS
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = f"cuda:{_number('LOCAL_RANK', 0) % gpus}" if gpus else None
    return ProcessShare(_number("RANK", 0), world_size, device)


def _number(variable: str, without_launcher: int) -> int:
    return int(os.environ.get(variable, without_launcher))
