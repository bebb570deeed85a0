"""The parts of `gpu.py` about single operations."""

# B batch, N cells, T tokens, D channels a head

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import torch
from baselines import ATTENTIONS
from diffusers import Transformer2DModel
from diffusers.models.resnet import ResnetBlock2D
from gpu_bench import Bench, Row, short
from measuring import kernel_seconds
from torch import Tensor, nn

from tadp_backbone.kernels import fuse_blocks

TOKENS, HEADS = 77, 8
DTYPES = (torch.bfloat16, torch.float16)
Place = dict[str, torch.device | torch.dtype]


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


def blocks(bench: Bench) -> Iterator[Row]:
    """Resnet blocks and transformers with channels_last memory, without gradients."""
    for dtype, batch, (channels, side), kind in product(DTYPES, bench.size.kernel_batches, bench.size.blocks, BLOCKS):
        place = {"device": bench.device, "dtype": dtype}
        x = torch.randn(batch, channels, side, side, **place).to(memory_format=torch.channels_last)
        block, others = BLOCKS[kind](channels, batch, place)
        for name in ("diffusers", "ours"):
            if name == "ours":
                fuse_blocks(block)
            work = torch.no_grad()(partial(block, x, **others))
            yield {
                "block": kind,
                "channels": channels,
                "side": side,
                **kernel_cells(bench, dtype, batch, False, name, work),
            }


def resnet(channels: int, batch: int, place: Place) -> tuple[nn.Module, dict[str, Tensor]]:
    """A block and what it is given beside the cells."""
    block = ResnetBlock2D(in_channels=channels, temb_channels=1280).to(**place, memory_format=torch.channels_last)
    return block.eval(), {"temb": torch.randn(batch, 1280, **place)}


def transformer(channels: int, batch: int, place: Place) -> tuple[nn.Module, dict[str, Tensor]]:
    """A block and what it is given beside the cells."""
    block = Transformer2DModel(HEADS, channels // HEADS, channels, cross_attention_dim=768)
    block = block.to(**place).to(memory_format=torch.channels_last)
    return block.eval(), {"encoder_hidden_states": torch.randn(batch, TOKENS, 768, **place), "return_dict": False}


BLOCKS = {"resnet": resnet, "transformer": transformer}


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
