"""Whether the fused kernels can run: here at all, and on given tensors."""

# B batch, C channels, H W cells

from importlib.util import find_spec

import torch
from torch import Tensor

HAS_TRITON = find_spec("triton") is not None
"""torch's CUDA wheels bring Triton on Linux only."""
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
"""Types that the kernels take."""


def runs_kernels(x: Tensor, *others: Tensor | None) -> bool:
    """Whether kernels over channels_last memory take x (B, C, H, W) here.

    Not where x or one of the others needs a gradient: each further operation of a backward pass costs a launch, and a
    training step of two images took longer with kernels than without (H100). Not in code that torch compiles or
    exports: it fuses by itself. Other tracers see launches, which they cannot record.
    """
    return (
        HAS_TRITON
        and x.is_cuda
        and not needs_gradient(x, *others)
        and not torch.compiler.is_compiling()
        and x.dtype in DTYPES
        and x.ndim == 4
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def needs_gradient(*tensors: Tensor | None) -> bool:
    """Whether a backward pass would go through one of them."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)
