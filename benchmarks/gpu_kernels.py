"""The parts of `gpu.py` about single operations."""

# B batch, N cells, T tokens, D channels a head

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import torch
from baselines import ATTENTIONS
from gpu_bench import Bench, Row, short
from measuring import kernel_seconds

from tadp_backbone.kernels import GroupNormSiLU

TOKENS, HEADS = 77, 8
DTYPES = (torch.bfloat16, torch.float16)


def attention(bench: Bench) -> Iterator[Row]:
    """Cross-attention with maps."""
    for dtype, batch, (cells, width), backward in product(
        DTYPES, bench.size.kernel_batches, bench.size.attention, (False, True)
    ):
        sizes = [(batch, n, HEADS, width) for n in (cells, TOKENS, TOKENS)]
        inputs = [torch.randn(s, device=bench.device, dtype=dtype).transpose(1, 2) for s in sizes]
        inputs = tuple(x.requires_grad_(backward) for x in inputs)
        for name, attend in ATTENTIONS.items():
            work = with_gradients(lambda f=attend, x=inputs, d=width: f(*x, d**-0.5)[0], inputs, backward)
            yield {"N": cells, "D": width, **kernel_cells(bench, dtype, batch, backward, name, work)}


def norms(bench: Bench) -> Iterator[Row]:
    """GroupNorm and SiLU over channels_last memory."""
    for dtype, batch, (channels, side), backward in product(
        DTYPES, bench.size.kernel_batches, bench.size.norms, (False, True)
    ):
        x = torch.randn(batch, channels, side, side, device=bench.device, dtype=dtype)
        x = x.to(memory_format=torch.channels_last).requires_grad_(backward)
        place = {"device": bench.device, "dtype": dtype}
        separate = torch.nn.Sequential(torch.nn.GroupNorm(32, channels, **place), torch.nn.SiLU())
        for name, module in {"separate": separate, "ours": GroupNormSiLU(32, channels, **place)}.items():
            work = with_gradients(partial(module, x), (x, *module.parameters()), backward)
            yield {"channels": channels, "side": side, **kernel_cells(bench, dtype, batch, backward, name, work)}


def with_gradients(work: Callable, inputs: tuple, backward: bool) -> Callable:
    """`work` itself without gradients, or with its backward pass for a given gradient of what it returns."""
    if not backward:
        return torch.no_grad()(work)
    given = torch.randn_like(work())
    return lambda: torch.autograd.grad(work(), inputs, given)


def kernel_cells(bench: Bench, dtype: torch.dtype, batch: int, backward: bool, way: str, work: Callable) -> Row:
    """The cells that all operations have."""
    names = {"batch": batch, "dtype": short(dtype), "pass": "both" if backward else "forward", "way": way}
    measured = bench.guarded(lambda: {"us": kernel_seconds(work, bench.device) * 1e6})
    return {**names, "us": None, "note": None, **measured}
