"""Reads what a forward pass computes inside: outputs of modules by hooks, attention maps of a diffusers UNet by its
public attention processors. Both are removed afterwards."""

# B batch, N latent cells of a layer, T text tokens, C channels

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .kernels import cross_attention_with_maps


@dataclass(frozen=True)
class _Sink:
    """Where maps of one recording go."""

    maps: dict[str, Tensor]
    detach: bool
    when: Callable[[], bool]

    def put(self, path: str, maps: Tensor) -> None:
        if self.when():
            self.maps[path] = maps.detach() if self.detach else maps


class _RecordingProcessor:
    """Attention processor (diffusers' interface) that hands its layer's maps to one or more sinks."""

    def __init__(self, path: str, sinks: tuple[_Sink, ...], detach: bool):
        """`detach`: no sink wants a gradient through the maps."""
        self.path, self.sinks, self.detach = path, sinks, detach

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """hidden_states (B, N, C), encoder_hidden_states (B, T, D) -> (B, N, C)"""
        if attention_mask is not None:
            raise ValueError("cross-attention maps cannot be recorded with an attention mask; leave the mask out")
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            text = attn.norm_encoder_hidden_states(text)
        q, k, v = (
            rearrange(projected, "b n (heads d) -> b heads n d", heads=attn.heads)
            for projected in (attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text))
        )
        output, maps = cross_attention_with_maps(q, k, v, attn.scale, detach_maps=self.detach)
        for sink in self.sinks:
            sink.put(self.path, maps)
        output = rearrange(output, "b heads n d -> b n (heads d)")
        for layer in attn.to_out:  # linear, dropout
            output = layer(output)
        if attn.residual_connection:
            output = output + hidden_states
        return output if attn.rescale_output_factor == 1 else output / attn.rescale_output_factor


def _always() -> bool:
    return True


@contextmanager
def record_outputs(
    module: nn.Module, paths: Sequence[str], when: Callable[[], bool] = _always
) -> Iterator[dict[str, Tensor]]:
    """Yields {path: output}, filled by a forward inside the context while `when` says so; of a tuple the first.

    The hooks are gone after it, error or not. AttributeError for a path that `module` does not have.
    """
    outputs: dict[str, Tensor] = {}
    handles = []

    def keep(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: tuple, output: Tensor | tuple[Tensor, ...]) -> None:
            if when():
                outputs[path] = output if isinstance(output, Tensor) else output[0]

        return hook

    try:
        for path in paths:
            handles.append(module.get_submodule(path).register_forward_hook(keep(path)))
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def record_cross_attention(
    unet: UNet2DConditionModel,
    *,
    layers: Collection[str] | None = None,
    detach: bool = True,
    when: Callable[[], bool] = _always,
) -> Iterator[dict[str, Tensor]]:
    """Yields {path of the cross-attention layer: (B, N, T)}, filled by each forward of `unet` inside the context.

    Maps are softmax probabilities averaged over heads, rows sum to 1, keys in the order in which layers run; a later
    forward overwrites them. They carry gradient with `detach=False`. `layers` chooses paths, None: all. The processors
    found are put back on exit, after an error too. Contexts may be nested: each gets the maps of what runs inside it,
    as long as its `when` says so. ValueError for layers that are not there, and for processors of adapters.
    """
    if layers is not None and not layers:  # walking all modules takes a millisecond
        yield {}
        return
    with _recording(unet, cross_attention_layers(unet), layers, detach, when) as maps:
        yield maps


@contextmanager
def record_self_attention(
    unet: UNet2DConditionModel, *, layers: Collection[str] | None = None, detach: bool = True
) -> Iterator[dict[str, Tensor]]:
    """As `record_cross_attention`, for {path of the self-attention layer: (B, N, N)}: N^2 numbers, choose `layers`."""
    with _recording(unet, self_attention_layers(unet), layers, detach, _always) as maps:
        yield maps


def cross_attention_layers(unet: nn.Module) -> dict[str, Attention]:
    """{module path: layer} of the layers that attend to the text, in the module's order."""
    return {path: m for path, m in unet.named_modules() if isinstance(m, Attention) and m.is_cross_attention}


def self_attention_layers(unet: nn.Module) -> dict[str, Attention]:
    """{module path: layer} of the layers that attend to the image itself, in the module's order."""
    return {path: m for path, m in unet.named_modules() if isinstance(m, Attention) and not m.is_cross_attention}


@contextmanager
def _recording(
    unet: nn.Module,
    there: dict[str, Attention],
    chosen: Collection[str] | None,
    detach: bool,
    when: Callable[[], bool],
) -> Iterator[dict[str, Tensor]]:
    if chosen is not None and set(chosen) - set(there):
        raise ValueError(f"no such attention layers: {sorted(set(chosen) - set(there))}; there are {list(there)}")
    layers = {path: layer for path, layer in there.items() if chosen is None or path in chosen}
    for path, layer in layers.items():
        if isinstance(layer.processor, nn.Module) or layer.added_kv_proj_dim is not None or layer.norm_q is not None:
            raise ValueError(
                f"cannot record maps of {path}: it uses {type(layer.processor).__name__}, expected plain attention "
                "as in Stable Diffusion 1 and 2; merge or unload adapters that replace processors"
            )
    maps: dict[str, Tensor] = {}
    recorders = {}
    for path, layer in layers.items():
        sinks = (*getattr(layer.processor, "sinks", ()), _Sink(maps, detach, when))
        recorders[path] = _RecordingProcessor(path, sinks, all(sink.detach for sink in sinks))
    with _installed(layers, recorders), _recomputed_alike(unet):
        yield maps


@contextmanager
def _installed(layers: dict[str, Attention], processors: Mapping[str, object]) -> Iterator[None]:
    before = {path: layer.processor for path, layer in layers.items()}
    try:
        for path, layer in layers.items():
            layer.set_processor(processors[path])
        yield
    finally:
        for path, layer in layers.items():
            layer.set_processor(before[path])


@contextmanager
def _recomputed_alike(unet: nn.Module) -> Iterator[None]:
    """Gradient checkpointing runs blocks again in backward, when recording is over: they must take the same path."""
    if not torch.is_grad_enabled():  # walking all modules takes a millisecond
        yield
        return

    def checkpointed(module: nn.Module, *args: Any) -> Any:
        recording = {
            p: m for p, m in unet.named_modules() if isinstance(getattr(m, "processor", 0), _RecordingProcessor)
        }
        silent = {path: _RecordingProcessor(path, (), layer.processor.detach) for path, layer in recording.items()}

        def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
            return nullcontext(), _installed(recording, silent)

        return checkpoint(module.__call__, *args, use_reentrant=False, context_fn=contexts)

    blocks: list[Any] = [m for m in unet.modules() if getattr(m, "gradient_checkpointing", False)]
    before = [block._gradient_checkpointing_func for block in blocks]
    try:
        for block in blocks:
            block._gradient_checkpointing_func = checkpointed
        yield
    finally:
        for block, function in zip(blocks, before, strict=True):
            block._gradient_checkpointing_func = function
