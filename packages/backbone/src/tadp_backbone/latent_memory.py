"""Latents in host memory while a command runs: several prompts, or several models with the same VAE, cost one pass of
its encoder. `latent_cache` keeps those of a training on disk."""

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

    Of all backbones in this thread. `limit`: bytes of latents that are kept in host memory; beyond it further batches
    are encoded at each pass. Where the posterior is sampled, batches are the same if their noise is. Each pass copies
    its images to the host and hashes them, which synchronises with a GPU, and encodes new ones outside of CUDA graphs.
    """
    active = _memory.set(_Memory(limit))
    try:
        yield
    finally:
        _memory.reset(active)


def cached_latents(backbone: "DiffusionBackbone", images: Tensor, noise: Tensor | None) -> Tensor | None:
    """As `backbone.encode_padded`, computed once for each batch; None outside of `encoding_once`, with gradients, and
    for tensors without values.

    Training draws other crops at each step: looking for them would cost time and find nothing.
    """
    memory = _memory.get()
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing() or images.is_meta
    return None if memory is None or torch.is_grad_enabled() or traced else memory.latents(backbone, images, noise)


class _Memory:
    """The first latents that fit into `limit` bytes. Nothing is evicted: of a set of images too large for it, which is
    passed through again and again from its beginning, each batch would be gone when it is needed."""

    def __init__(self, limit: int):
        self.left = limit
        self._cached: dict[bytes, Tensor] = {}
        self._vaes: WeakKeyDictionary[Vae, tuple[object, str]] = WeakKeyDictionary()

    def latents(self, backbone: "DiffusionBackbone", images: Tensor, noise: Tensor | None) -> Tensor:
        """(B, 4, h, w) on the device of the images (B, 3, H, W)."""
        key = self._key(backbone, images, noise)
        if key in self._cached:
            return self._cached[key].to(images.device, copy=True)  # of the caller's own, whatever is done with it
        latents = backbone.encode_padded(images, noise)
        if latents.nbytes <= self.left:
            self.left -= latents.nbytes
            self._cached[key] = latents.to("cpu", copy=True)
        return latents

    def _key(self, backbone: "DiffusionBackbone", images: Tensor, noise: Tensor | None) -> bytes:
        """Of whole batches: an image's latents differ by rounding with the images that it is encoded together with."""
        vae, kind = backbone.vae, images.device.type
        assert vae is not None, "images are passed to a VAE"
        first = next(vae.parameters())
        autocast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        tf32 = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
        computed = (first.dtype, first.device, first.stride(), autocast, tf32, vae.use_slicing, vae.use_tiling)
        settings = (self._digest(vae), computed, latent_factor(vae, backbone.config))
        digest = sha256(repr(settings).encode())
        for tensor in (images,) if noise is None else (images, noise):
            digest.update(repr((tensor.dtype, tensor.shape)).encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return digest.digest()

    def _digest(self, vae: Vae) -> str:
        """Of its weights and kinds of blocks, which `optimize` changes; computed again after weights were changed."""
        stamp = [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in vae.parameters()]
        known, digest = self._vaes.get(vae, (None, ""))
        if known != stamp:
            digest = f"{vae} {state_digest(vae)}"
            self._vaes[vae] = stamp, digest
        return digest


_memory: ContextVar[_Memory | None] = ContextVar("latents", default=None)
