"""FSDP (ZeRO stage 3): trained weights, their gradients and optimizer states are sharded over processes.

A copy of the model with sharded weights is trained; the model itself is empty meanwhile and gets the full weights to be
evaluated or saved. Both share the frozen weights and the running statistics.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tadp_heads.model import PerceptionModel


class Shards:
    """The sharded copy that is trained, and the gathering of its weights into the model.

    Weights are not broadcast: all processes must start with the same ones, as they do from the same seed.
    """

    def __init__(self, model: PerceptionModel, trained: Iterable[nn.Parameter], processes: int, device: torch.device):
        self._empty = list(trained)
        self._mesh = init_device_mesh(device.type, (processes,))
        # The copy shares all tensors, so that none is in memory twice.
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        shared |= {id(p): nn.Parameter(p.data) for p in self._empty}
        self.learner: PerceptionModel = deepcopy(model, shared)
        self.release()

    def shard(self, objective: nn.Module) -> None:
        """Shard the weights of the learner's objective; those of a block are gathered while it is computed."""
        frozen = {p for p in objective.parameters() if not p.requires_grad}
        for block in blocks(self.learner.backbone):
            if any(p.requires_grad for p in block.parameters()):
                fully_shard(block, mesh=self._mesh, ignored_params=frozen)
        fully_shard(objective, mesh=self._mesh, ignored_params=frozen)

    @torch.no_grad()
    def gather(self, weights: Iterable[Tensor]) -> None:
        """Put the gathered trained weights into the model; a collective operation of all processes."""
        for parameter, part in zip(self._empty, weights, strict=True):
            parameter.data = cast(DTensor, part).full_tensor()

    def release(self) -> None:
        """Free the model's gathered weights."""
        for parameter in self._empty:
            parameter.data = parameter.data.new_empty(0)


def blocks(backbone: Any) -> Sequence[nn.Module]:
    """The parts of the backbone that are gathered one at a time; all else is gathered during a pass."""
    return getattr(backbone, "blocks", list)()


def gathered(state: Any, keep: bool) -> Any:
    """A state whose sharded tensors are gathered on the CPU, all else unchanged. A collective operation; processes
    without `keep` get None for each sharded tensor."""
    if isinstance(state, DTensor):
        full = state.full_tensor()
        return full.cpu() if keep else None
    if isinstance(state, Mapping):
        return {key: gathered(value, keep) for key, value in state.items()}
    return [gathered(value, keep) for value in state] if isinstance(state, list) else state


def as_kept(saved: Tensor, parameter: Tensor) -> Tensor:
    """A full tensor of a state, sharded as its parameter is."""
    if not isinstance(parameter, DTensor) or saved.shape != parameter.shape:
        return saved
    there = saved.to(parameter.device)
    # Each process has read the full tensor: nothing needs to be sent.
    return distribute_tensor(there, parameter.device_mesh, parameter.placements, src_data_rank=None)
