"""A UNet in which all that does not depend on the image is a constant: for graphs of one timestep or one prompt."""

# B batch, T tokens, D width of the context

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from ..recording import cross_attention_layers

if TYPE_CHECKING:
    from ..backbone import DiffusionBackbone


class _Constant(nn.Module):
    """Gives the same for each row of its input."""

    value: Tensor

    def __init__(self, value: Tensor):
        super().__init__()
        self.register_buffer("value", value)

    def forward(self, x: Tensor, *_: object) -> Tensor:
        return self.value.expand(x.shape[0], *self.value.shape[1:])  # len() would fix the number in a graph


@contextmanager
def folded(backbone: "DiffusionBackbone", context: Tensor | None) -> Iterator[None]:
    """Inside, passes at the config's timestep, conditioned on `context` (1, T, D), compute neither again.

    The projections of the timestep are constants, and those of the context (K and V of each cross-attention). None: the
    context varies, and its projections are computed as before. Inside, passes with other values are wrong.
    """
    paths = _time_modules(backbone.unet)
    if context is not None:
        paths += [f"{path}.{name}" for path in cross_attention_layers(backbone.unet) for name in ("to_k", "to_v")]
    values = _outputs_of(backbone, paths, context)
    before = {path: backbone.unet.get_submodule(path) for path in paths}
    try:
        for path, value in values.items():
            backbone.unet.set_submodule(path, _Constant(value))
        yield
    finally:
        for path, module in before.items():
            backbone.unet.set_submodule(path, module)


def _time_modules(unet: nn.Module) -> list[str]:
    """Paths of the layers that see nothing but the timestep."""
    blocks = [path for path, module in unet.named_modules() if isinstance(module, ResnetBlock2D)]
    return ["time_embedding", *(f"{path}.time_emb_proj" for path in blocks)]


@torch.no_grad()
def _outputs_of(backbone: "DiffusionBackbone", paths: list[str], context: Tensor | None) -> dict[str, Tensor]:
    """{path: what the module gives (1, ...)} in a pass over a small empty image."""
    found: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _inputs, output: found.update({path: output[:1].clone()})

    handles = [backbone.unet.get_submodule(path).register_forward_hook(keep(path)) for path in paths]
    try:
        side = backbone.size_multiple // backbone.vae_factor
        latents = torch.zeros(1, backbone.unet.config.in_channels, side, side, device=backbone.unet.device)
        width = backbone.unet.config.cross_attention_dim + len(backbone.config.class_words)
        empty = torch.zeros(1, backbone.config.num_tokens, width, device=backbone.unet.device)
        backbone.extract(latents, empty if context is None else context)
    finally:
        for handle in handles:
            handle.remove()
    return found
