"""Stochastic depth on the transformers of a UNet (Huang et al. 2016)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from diffusers import Transformer2DModel
from torch import Tensor, nn


@contextmanager
def drop_path(unet: nn.Module, chance: float) -> Iterator[None]:
    """Inside, and in training mode, each transformer is skipped for an image by chance; kept ones count for more, so
    that the mean stays. The chance grows linearly from 0 for the first transformer to `chance` for the last."""
    transformers = [module for module in unet.modules() if isinstance(module, Transformer2DModel)]
    last = max(len(transformers) - 1, 1)
    handles = [
        module.register_forward_hook(partial(_drop, chance * index / last))
        for index, module in enumerate(transformers)
        if index
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _drop(chance: float, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    """A transformer adds to what it gets; that sum (B, C, h, w) is what its output holds first."""
    if not module.training:
        return output
    came: Tensor = args[0]
    kept = torch.rand(len(came), 1, 1, 1, device=came.device) >= chance
    return (came + (output[0] - came) * kept / (1 - chance), *output[1:])
