"""Attention without memory that keeps what real kernels keep.

Packages do not import each other, so each that trains has its own copy of this module, kept equal by a test.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# N queries, M keys, d channels of a head


@contextmanager
def fused_attention() -> Iterator[None]:
    """Inside, attention on the meta device keeps what it keeps on real ones; it would take the formula there, with its
    matrices of N x M numbers. A TorchFunctionMode is not asked when checkpointed blocks run again."""
    real = F.scaled_dot_product_attention

    def attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if query.is_meta:
            return _AttentionShapes.apply(query, key, value)
        return real(query, key, value, *args, **kwargs)

    F.scaled_dot_product_attention = attention
    try:
        yield
    finally:
        F.scaled_dot_product_attention = real


class _AttentionShapes(torch.autograd.Function):
    """What fused kernels keep: queries, keys, values, the output and a number a query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))  # (B, heads, N, d)
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])
