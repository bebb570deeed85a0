"""Makes a backbone fast on the device it lies on."""

# B batch, h w latent cells, T tokens, D width of the context

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .kernels import fuse_resnets

if TYPE_CHECKING:
    from .backbone import DiffusionBackbone

Recorded = tuple[dict[str, Tensor], dict[str, Tensor]]
"""({tap: features}, {layer: maps}) of one pass"""

Pass = Callable[[Tensor, Tensor, Tensor], Recorded]
"""latents (B, 4, h, w), timesteps (B,), context (B, T, D) -> features and maps"""

MOST_GRAPHS = 8
"""Graphs kept at a time: each holds the memory of a whole pass; the one unused for longest goes first."""


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
        blocks = sum(fuse_resnets(part) for part in (backbone.unet, backbone.vae) if part is not None)
        done.append(f"channels_last memory; GroupNorm and SiLU as one operation in {blocks} resnet blocks")
    run: Pass = backbone.run_unet
    if compile:
        backend = "inductor" if compile is True else compile
        run = CompiledPass(backbone, backend)
        done.append(f"the UNet's pass compiled by {backend}, at its first run for each size")
    if cuda_graphs:
        run = GraphedPass(run)
        done.append("passes without gradient are replayed as CUDA graphs, captured at the first run for each size")
    backbone.run_unet = run  # type: ignore[assignment, method-assign]  # of this backbone alone
    return tuple(done)


class CompiledPass:
    """The UNet's pass with its recorders as one graph.

    Compiled code keeps the hooks and processors that it saw, so they stay installed from now on.
    """

    def __init__(self, backbone: "DiffusionBackbone", backend: str):
        self.unet = backbone.unet
        self._recorders = backbone.recorders(lambda: True)  # collected, it would take the hooks with it
        self._outputs, self._maps = self._recorders.__enter__()
        self.run = torch.compile(self._run, backend=backend)

    def __call__(self, latents: Tensor, timesteps: Tensor, context: Tensor) -> Recorded:
        results = self.run(latents, timesteps, context)
        # Compiled code looks whether the dictionaries are as they were: filled, they would have it compiled twice.
        self._outputs.clear()
        self._maps.clear()
        return results

    def _run(self, latents: Tensor, timesteps: Tensor, context: Tensor) -> Recorded:
        self.unet(latents, timesteps, encoder_hidden_states=context)
        return dict(self._outputs), dict(self._maps)


class GraphedPass:
    """Captures a pass once for each size of its inputs and state of autocast, and replays it: no time between kernels.

    Passes that need gradients are run as they are. Weights are read where they lay at the capture: change them in place
    only. Results are copies, each graph keeps its inputs and the memory of a pass. Capture and replay have not been run
    on a GPU yet.
    """

    def __init__(self, run: Pass):
        self.run = run
        self.graphs: dict[tuple, tuple] = {}  # in order of use, the latest last

    def __call__(self, latents: Tensor, timesteps: Tensor, context: Tensor) -> Recorded:
        if torch.is_grad_enabled():
            return self.run(latents, timesteps, context)
        inputs = (latents, timesteps, context)
        key = graph_key(inputs)
        captured = self.graphs.pop(key) if key in self.graphs else self._capture(inputs)
        self.graphs[key] = captured
        if len(self.graphs) > MOST_GRAPHS:
            del self.graphs[next(iter(self.graphs))]
        graph, kept, (outputs, maps) = captured
        for place, value in zip(kept, inputs, strict=True):
            place.copy_(value)
        graph.replay()
        # The next replay writes into the same memory.
        return {k: x.clone() for k, x in outputs.items()}, {k: x.clone() for k, x in maps.items()}

    def _capture(self, inputs: tuple[Tensor, ...]) -> tuple:
        device = inputs[0].device  # streams are made on the current device, which may be another one
        with torch.cuda.device(device), plain_tensors(), uncached_autocast(device.type):
            kept = tuple(x.clone() for x in inputs)
            aside = torch.cuda.Stream()
            aside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(aside):  # compilation and the choice of algorithms happen outside of the capture
                for _ in range(3):
                    self.run(*kept)
            torch.cuda.current_stream().wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=torch.cuda.Stream()):  # torch's own belongs to the first device used
                results = self.run(*kept)
        return graph, kept, results


def graph_key(inputs: tuple[Tensor, ...]) -> tuple:
    """What a captured pass depends on: sizes, types and places of its inputs, and autocast."""
    kind = inputs[0].device.type
    autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
    return *((x.shape, x.dtype, x.device) for x in inputs), autocast


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
