"""Latents in main memory: several prompts, or several models with the same VAE, cost one pass of its encoder."""

# B batch, H W image pixels, h w latent cells

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from .text.cache import state_digest
from .vae import Vae, latent_factor

if TYPE_CHECKING:
    from .backbone import DiffusionBackbone

MEMORY_LIMIT = 2**30
"""Bytes of latents: of 16,384 images of 512x512 in float32."""


@contextmanager
def encoding_once(limit: int = MEMORY_LIMIT) -> Iterator[None]:
    """Inside, a pass without gradients takes the latents of an earlier pass over the same batch of images, if their VAE
    has the same weights and computes in the same way: no number changes.

    Of all backbones in this thread. `limit`: bytes of latents that are kept in main memory; beyond it further batches
    are encoded at each pass. Where the posterior is sampled, batches are the same if their noise is. Each pass copies
    its images to main memory: not for loops that must not wait for a GPU.
    """
    active = _memory.set(_Memory(limit))
    try:
        yield
    finally:
        _memory.reset(active)


def known_latents(backbone: "DiffusionBackbone", images: Tensor, noise: Tensor | None) -> Tensor | None:
    """As `backbone.encode_padded`, computed once for each batch; None outside of `encoding_once` and with gradients.

    Training draws other crops at each step: looking for them would cost time and find nothing.
    """
    memory = _memory.get()
    return None if memory is None or torch.is_grad_enabled() else memory.latents(backbone, images, noise)


class _Memory:
    """The first latents that fit into `limit` bytes. None make way for others: of a set of images too large for it,
    which is passed through again and again from its beginning, each batch would be gone when it is needed."""

    def __init__(self, limit: int):
        self.left = limit
        self._known: dict[bytes, Tensor] = {}
        self._vaes: WeakKeyDictionary[Vae, str] = WeakKeyDictionary()

    def latents(self, backbone: "DiffusionBackbone", images: Tensor, noise: Tensor | None) -> Tensor:
        """(B, 4, h, w) on the device of the images (B, 3, H, W)."""
        key = self._key(backbone, images, noise)
        if key in self._known:
            return self._known[key].to(images.device)
        latents = backbone.encode_padded(images, noise)
        if latents.nbytes <= self.left:
            self.left -= latents.nbytes
            self._known[key] = latents.cpu()
        return latents

    def _key(self, backbone: "DiffusionBackbone", images: Tensor, noise: Tensor | None) -> bytes:
        """Of whole batches: an image's latents differ by rounding with the images that it is encoded together with."""
        vae, kind = backbone.vae, images.device.type
        assert vae is not None, "images are passed to a VAE"
        if vae not in self._vaes:
            self._vaes[vae] = f"{vae} {state_digest(vae)}"  # the kind of its blocks too, which `optimize` changes
        first = next(vae.parameters())
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        computed = (first.dtype, first.device, first.stride(), autocast, torch.get_float32_matmul_precision())
        settings = (backbone.config.posterior, latent_factor(vae, backbone.config))
        digest = sha256(repr((self._vaes[vae], computed, settings)).encode())
        for tensor in (images,) if noise is None else (images, noise):
            digest.update(repr((tensor.dtype, tensor.shape)).encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.digest()


_memory: ContextVar[_Memory | None] = ContextVar("latents", default=None)
