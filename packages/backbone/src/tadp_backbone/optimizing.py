"""Makes a backbone fast on the device it lies on."""

# B batch, h w latent cells, T tokens, D width of the context

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from .features import Pyramid
from .inputs import Inputs
from .kernels import fuse_blocks

if TYPE_CHECKING:
    from .backbone import DiffusionBackbone

MOST_GRAPHS = 8
"""Graphs kept at a time: each holds the memory of a whole pass; the one unused for longest goes first."""
MAX_COMPILATIONS = 64
"""Of the blocks' code: 4 per image size of Stable Diffusion 1. Further sizes run uncompiled."""
CAPTURED_FROM = 3
"""Passes of one size: a capture runs four."""


def optimize(
    backbone: "DiffusionBackbone",
    dtype: torch.dtype | None,
    channels_last: bool,
    compile: bool | str,
    cuda_graphs: bool,
) -> tuple[str, ...]:
    """What `DiffusionBackbone.optimize` does; one line for each thing that was done."""
    if cuda_graphs and backbone.unet.device.type != "cuda":
        raise ValueError(
            f"cuda_graphs needs the backbone on a CUDA device, it is on {backbone.unet.device}: move it first"
        )
    done = []
    if dtype is not None:
        parts = (backbone.unet, backbone.vae, backbone.text_encoder)
        # In a list: the `to` of diffusers' models warns of modules to be kept in float32 where there are none.
        nn.ModuleList(part for part in parts if part is not None).to(dtype)
        done.append(f"weights in {str(dtype).removeprefix('torch.')}")
    if channels_last:
        backbone.to(memory_format=torch.channels_last)
        blocks = sum(fuse_blocks(part) for part in (backbone.unet, backbone.vae) if part is not None)
        done.append(f"channels_last memory; {blocks} faster blocks")
    if compile:
        backend = "inductor" if compile is True else compile
        blocks = compile_blocks(backbone.unet, backend)
        backbone.run_unet = partial(run_compiled, backbone)  # type: ignore[method-assign]  # of this one
        done.append(f"{blocks} transformer blocks compiled by {backend}, at their first run for each size")
    if cuda_graphs:
        backbone.compute = GraphedPass(backbone)  # type: ignore[method-assign]  # of this one
        done.append("passes without gradient are replayed as CUDA graphs, captured at the third run for each size")
    return tuple(done)


class UncompiledAttention(Attention):
    """Attention that compiled blocks call as it is: each pass installs new recorders in it, for which torch would
    compile again, and scaled_dot_product_attention is fused already."""

    __call__ = torch.compiler.disable(Attention.__call__)


def compile_blocks(unet: UNet2DConditionModel, backend: str) -> int:
    """Have the transformer blocks compiled at their first run for each size; returns how many there are.

    Blocks of the same sizes share one compilation: three graphs, around two attention layers. Resnet blocks have
    kernels of their own, and so many sizes that compiling them would take most of the time.
    """
    blocks = [module for module in unet.modules() if isinstance(module, BasicTransformerBlock)]
    for block in blocks:
        for attention in block.modules():
            if type(attention) is Attention:
                attention.__class__ = UncompiledAttention
        block.compile(backend=backend, dynamic=False)  # else dynamo marks the levels' channel widths as dynamic
    return len(blocks)


def run_compiled(
    backbone: "DiffusionBackbone", latents: Tensor, timesteps: Tensor, context: Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """`DiffusionBackbone.run_unet` with room for the compilations of all blocks, and with the hooks inside them."""
    # Torch's own limit is 8 for all blocks together, and it does not look for hooks. Per thread, so not in `optimize`.
    with torch._dynamo.config.patch(recompile_limit=MAX_COMPILATIONS, skip_nnmodule_hook_guards=False):
        return type(backbone).run_unet(backbone, latents, timesteps, context)


class GraphedPass:
    """Captures a pass, from pixels or latents to the levels, and replays it: no time between kernels.

    A graph is captured at the third pass with inputs of the same sizes, config and state of autocast; passes before it,
    and passes that need gradients, run as they are. Weights are read where they lay at the capture: change them in
    place only. Results are copies, each graph keeps its inputs and the memory of a pass.
    """

    def __init__(self, backbone: "DiffusionBackbone"):
        self.backbone = backbone
        self.run = backbone.compute
        self.graphs: dict[tuple, tuple] = {}  # in order of use, the latest last
        self.seen: Counter[tuple] = Counter()

    def __call__(self, inputs: Inputs, image_size: tuple[int, int]) -> Pyramid:
        if torch.is_grad_enabled():
            return self.run(inputs, image_size)
        key = (graph_key(inputs), image_size, self.backbone.config)
        if key not in self.graphs:
            self.seen[key] += 1
            if self.seen[key] < CAPTURED_FROM:
                return self.run(inputs, image_size)
        captured = self.graphs.pop(key) if key in self.graphs else self._capture(inputs, image_size)
        self.graphs[key] = captured
        if len(self.graphs) > MOST_GRAPHS:
            del self.graphs[next(iter(self.graphs))]
        graph, kept, (levels, attention) = captured
        for place, value in zip(kept, inputs, strict=True):
            if place is not None:
                place.copy_(value)
        graph.replay()
        # The next replay writes into the same memory.
        return tuple(level.clone() for level in levels), {k: x.clone() for k, x in attention.items()}

    def _capture(self, inputs: Inputs, image_size: tuple[int, int]) -> tuple:
        device = inputs.timesteps.device  # streams are made on the current device, which may be another one
        with torch.cuda.device(device), plain_tensors(), uncached_autocast(device.type):
            kept = Inputs._make(None if x is None else x.clone() for x in inputs)
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # compilation and the choice of algorithms happen outside of the capture
                for _ in range(3):
                    self.run(kept, image_size)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=torch.cuda.Stream()):  # torch's own belongs to the first device used
                results = self.run(kept, image_size)
        return graph, kept, results


def graph_key(inputs: Inputs) -> tuple:
    """What a captured pass depends on: sizes, types and places of its inputs, and autocast."""
    kind = inputs.timesteps.device.type
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return *(None if x is None else (x.shape, x.dtype, x.device) for x in inputs), autocast


@contextmanager
def plain_tensors() -> Iterator[None]:
    """No gradients, and no inference tensors: outside of inference mode those cannot be written to."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def uncached_autocast(kind: str) -> torch.autocast:
    """Autocast as it is, but without its cache of weights: the cache is freed while a graph still reads it."""
    return torch.autocast(
        kind, torch.get_autocast_dtype(kind), enabled=torch.is_autocast_enabled(kind), cache_enabled=False
    )
