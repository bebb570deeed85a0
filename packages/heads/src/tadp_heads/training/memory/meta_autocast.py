"""Mixed precision on the meta device, which torch's autocast leaves in float32."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F

_HALF = [(F, name) for name in ("linear", "conv2d", "conv_transpose2d", "scaled_dot_product_attention")]
_HALF += [(torch, name) for name in ("matmul", "bmm", "baddbmm", "einsum")]
"""Products: in half precision, as autocast runs them on GPUs."""
_FULL = [(F, name) for name in ("group_norm", "layer_norm", "softmax", "cross_entropy")]
_FULL += [(F, "binary_cross_entropy_with_logits"), (torch, "softmax")]
"""What autocast runs in float32 there."""


@contextmanager
def meta_autocast(dtype: torch.dtype) -> Iterator[None]:
    """Inside, operations on tensors without memory give and keep what they would under autocast of `dtype` on a GPU.

    The functions are replaced, as checkpointed blocks that run again ask no TorchFunctionMode. float32: no autocast.
    """
    if dtype == torch.float32:
        yield
        return
    with ExitStack() as stack:
        for functions, wanted in ((_HALF, dtype), (_FULL, torch.float32)):
            for module, name in functions:
                stack.enter_context(patch.object(module, name, _casting(getattr(module, name), wanted)))
        yield


def _casting(function: Callable[..., Tensor], dtype: torch.dtype) -> Callable[..., Tensor]:
    def cast(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.is_meta and value.is_floating_point() else value

    def call(*args: Any, **kwargs: Any) -> Tensor:
        return function(*map(cast, args), **{name: cast(value) for name, value in kwargs.items()})

    return call
