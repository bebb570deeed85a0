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
    """The copy that learns, and the way back to the model.

    No process is sent another's weights: all have to begin with the same ones, as they do from the same seed.
    """

    def __init__(self, model: PerceptionModel, trained: Iterable[nn.Parameter], processes: int, device: torch.device):
        self._empty = list(trained)
        self._mesh = init_device_mesh(device.type, (processes,))
        # The copy takes all tensors over, so that nothing is there twice.
        shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        shared |= {id(p): nn.Parameter(p.data) for p in self._empty}
        self.learner: PerceptionModel = deepcopy(model, shared)
        self.release()

    def spread(self, objective: nn.Module) -> None:
        """Take the weights of the learner's objective apart: those of a block are whole while it is computed."""
        frozen = {p for p in objective.parameters() if not p.requires_grad}
        for block in blocks(self.learner.backbone):
            if any(p.requires_grad for p in block.parameters()):
                fully_shard(block, mesh=self._mesh, ignored_params=frozen)
        fully_shard(objective, mesh=self._mesh, ignored_params=frozen)

    @torch.no_grad()
    def gather(self, weights: Iterable[Tensor]) -> None:
        """Give the model these weights for what trains, whole; every process has to take part."""
        for parameter, part in zip(self._empty, weights, strict=True):
            parameter.data = cast(DTensor, part).full_tensor()

    def release(self) -> None:
        """Take the model's whole weights away."""
        for parameter in self._empty:
            parameter.data = parameter.data.new_empty(0)


def blocks(backbone: Any) -> Sequence[nn.Module]:
    """The parts of the backbone that are whole one after the other; all else is whole during a pass."""
    return getattr(backbone, "blocks", list)()


def whole(state: Any, keep: bool) -> Any:
    """A state whose spread tensors are put together on the CPU, all else as it is. Every process has to take part;
    those that don't `keep` it get None for each."""
    if isinstance(state, DTensor):
        full = state.full_tensor()
        return full.cpu() if keep else None
    if isinstance(state, Mapping):
        return {key: whole(value, keep) for key, value in state.items()}
    return [whole(value, keep) for value in state] if isinstance(state, list) else state


def as_kept(saved: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor of a state in the way its parameter is kept: this process's part of it, or all of it."""
    if not isinstance(parameter, DTensor) or saved.shape != parameter.shape:
        return saved
    there = saved.to(parameter.device)
    # Each process has read the whole tensor: nothing needs to be sent.
    return distribute_tensor(there, parameter.device_mesh, parameter.placements, src_data_rank=None)
