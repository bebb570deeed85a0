"""The cross-attention of a pass, layer by layer, recorded while something else runs it: a prediction, for one."""

# B batch, N cells of a layer in one row, T tokens, H W image pixels, h w cells

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn

from .backbone import DiffusionBackbone
from .features import Features
from .inputs import cut_to
from .recording import record_cross_attention
from .taps import map_layers


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Cross-attention of one pass over one image."""

    layers: dict[str, Tensor]
    """{path of the layer: (T, h, w)}, mean over heads, in the order in which the layers run."""
    strides: dict[str, int]
    """{path of the layer: image pixels per cell}."""
    image_size: tuple[int, int]
    """(H, W) in pixels."""

    def features(self, layers: Collection[str] | None = None) -> Features:
        """The layers, None: all, as `Features.attention`: mean over the layers of a stride."""
        chosen = [path for path in self.layers if layers is None or path in layers]
        maps = {
            stride: torch.stack([self.layers[path] for path in chosen if self.strides[path] == stride]).mean(0)[None]
            for stride in sorted({self.strides[path] for path in chosen})
        }
        return Features((), maps, self.image_size, (0, 0))


@dataclass(kw_only=True)
class Recording:
    """What ran inside `recording`."""

    passes: int = 0
    first: dict[str, Tensor] = field(default_factory=dict)
    """Of the first pass, {path: (B, N, T)}."""
    padded_size: tuple[int, int] = (0, 0)
    """(H, W) in pixels of what the network saw in the first pass."""


@contextmanager
def recording(backbone: DiffusionBackbone, layers: dict[str, int]) -> Iterator[Recording]:
    """Counts the backbone's passes inside and keeps the maps of the first one."""
    kept = Recording()
    with record_cross_attention(backbone.unet, layers=list(layers)) as maps:

        def keep(_backbone: nn.Module, _inputs: tuple, features: Features) -> None:
            if kept.passes == 0:
                kept.first = dict(maps)
                (height, width), (bottom, right) = features.image_size, features.padding
                kept.padded_size = (height + bottom, width + right)
            kept.passes += 1

        handle = backbone.register_forward_hook(keep)
        try:
            yield kept
        finally:
            handle.remove()


def attention_of(recorded: Recording, layers: dict[str, int], image_size: tuple[int, int]) -> Attention:
    """The recorded pass's maps over an image of (H, W) pixels, which padding may have enlarged at bottom and right."""
    height = recorded.padded_size[0]
    cells = {
        path: cut_to(rearrange(maps[0], "(h w) t -> t h w", h=height // layers[path]), image_size, layers[path])
        for path, maps in recorded.first.items()
    }
    return Attention(layers=cells, strides=layers, image_size=image_size)


def all_layers(backbone: DiffusionBackbone) -> dict[str, int]:
    """{path: stride in image pixels} of all cross-attention layers of the down and up levels."""
    return {path: stride for stride, paths in map_layers(backbone.unet, backbone.vae_factor).items() for path in paths}


def layers_at(backbone: DiffusionBackbone, strides: Sequence[int] | None = None) -> dict[str, int]:
    """{path: stride} of the cross-attention layers at these strides in image pixels; None: those the head is given."""
    wanted = backbone.config.map_strides if strides is None else strides
    layers = map_layers(backbone.unet, backbone.vae_factor, wanted)
    return {path: stride for stride, paths in layers.items() for path in paths}
