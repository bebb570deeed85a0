"""The accelerator of a run."""

import os

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from tadp_heads.training.parallel.accelerate_state import accelerator_for

_PRECISIONS = {"auto": "no", "fp32": "no", "tf32": "no", "bf16": "bf16", "fp16": "fp16"}


def make_accelerator(precision: str, device: str) -> Accelerator:
    """Of a `TrainConfig.precision`; in one process the models are where `device` says, in several each has its own."""
    if precision == "fp16" and device == "cpu":
        raise ValueError("train.precision 'fp16' needs a GPU, where its loss can be scaled; choose bf16 or fp32")
    for name in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true":
            raise ValueError(
                f"accelerate was launched with {name}: launch with --multi_gpu; train.shard=true then shards weights, "
                "gradients and optimizer over the processes (FSDP), and else each holds all of them (DDP)"
            )
    # Buffers are not broadcast: `joined_statistics` brings those of all processes together.
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
    return accelerator_for(_PRECISIONS[precision], cpu=device == "cpu", device_placement=False, kwargs_handlers=[ddp])
