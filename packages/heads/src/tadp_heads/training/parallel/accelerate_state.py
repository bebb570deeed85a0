"""accelerate's state of a process, which may be one of several that a launcher started.

Packages do not import each other, so each that trains has its own copy of this module, kept equal by a test.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState, is_initialized

_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What `accelerate launch` and `torchrun` set, all of them."""
_RANKS = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    *("PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    *("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID"),
)
"""Where accelerate looks for ranks; batch systems and templates of job scripts set some of them too."""


def accelerator_for(mixed_precision: str, *, cpu: bool, **arguments: Any) -> Accelerator:
    """Return an accelerator of that precision ("no", "bf16", "fp16") and device; `arguments` are further ones of it.

    accelerate keeps one state for everything in a process and refuses another precision or device. Where the settings
    ask for one, that state is reset, and accelerators made before no longer count; else it stays unchanged.
    """
    with without_other_launchers() as alone:
        if alone and _differs_from_state(mixed_precision, cpu):
            AcceleratorState._reset_state(reset_partial_state=True)
        return Accelerator(mixed_precision=mixed_precision, cpu=cpu, **arguments)


def _differs_from_state(mixed_precision: str, cpu: bool) -> bool:
    """Whether the process has a state of another precision or device than is asked for."""
    state = PartialState(cpu=cpu)  # the one that is there, or else a new one as asked for
    device = "cpu" if cpu else state.default_device.type
    precision = AcceleratorState().mixed_precision if is_initialized() else mixed_precision
    return (state.device.type, precision) != (device, mixed_precision)


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
