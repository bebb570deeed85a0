"""Latents on disk: a frozen VAE encodes each crop of an image once."""

# B batch, K crops per image

import json
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from .text.cache import kept, state_digest
from .vae import latent_factor

if TYPE_CHECKING:
    from .backbone import DiffusionBackbone

_STABLE_DIFFUSION = 0.18215
"""Its VAE's scaling factor, which entries are not named after."""

Crop = dict[str, Tensor]
"""One crop of an image: "image" (3, H, W) in [-1, 1], and what belongs to it, such as its mask or depth map."""


class LatentCache:
    """A pool of encoded crops of each image in a folder.

    With `crops=1` every epoch sees the same crop of an image; with K, each image is read, augmented and encoded K times
    in all, and an epoch draws one of the K. An entry is found again by the image's key, the number of the crop, what
    describes the augmentation, the VAE's weights and the backbone's settings. Several processes may share the folder.
    """

    def __init__(self, folder: str | Path, backbone: "DiffusionBackbone", *, crops: int = 1, augmentation: str = ""):
        """`augmentation`: describes how crops are made; other words, other entries."""
        if backbone.vae is None:
            raise ValueError("this backbone has no VAE to encode with: pass one")
        if crops < 1:
            raise ValueError(f"crops is {crops}, expected at least 1 per image")
        self._vae = backbone.vae
        self.folder, self.backbone, self.crops, self.augmentation = Path(folder), backbone, crops, augmentation
        self._digest = state_digest(self._vae)

    def crop(self, key: str, make: Callable[[int], Crop], *, generator: torch.Generator | None = None) -> Crop:
        """One crop of the pool, drawn by `generator`, with "latents" (4, H/8, W/8) in the image's place; on the CPU.

        `make(number)` reads and augments the image for crop `number` in [0, crops); it is called where the crop isn't
        in the folder yet, and decides by the number alone if crops are to be the same in a folder made anew.
        """
        number = int(torch.randint(self.crops, (), generator=generator)) if self.crops > 1 else 0
        return self._kept(key, number, make)

    def fill(self, keys: Sequence[str], make: Callable[[str, int], Crop]) -> None:
        """Encode all crops of all images that aren't in the folder yet."""
        for key in keys:
            for number in range(self.crops):
                self._kept(key, number, partial(make, key))

    def _kept(self, key: str, number: int, make: Callable[[int], Crop]) -> Crop:
        return kept(self._file(key, number), lambda: self._encoded(make(number)))

    @torch.no_grad()
    def _encoded(self, crop: Crop) -> Crop:
        latents = self.backbone.encode_image(crop["image"][None])[0]
        return {"latents": latents, **{name: value for name, value in crop.items() if name != "image"}}

    def _file(self, key: str, number: int) -> Path:
        config = self.backbone.config
        parts = [key, number, self.augmentation, self._digest, config.posterior, config.latent_scale]
        parts.append(str(next(self._vae.parameters()).dtype))  # the VAE's own `dtype` visits all of its modules
        factor, distilled = latent_factor(self._vae, config), isinstance(self._vae, AutoencoderTiny)
        if distilled or factor not in (_STABLE_DIFFUSION, config.latent_scale):  # a factor of the VAE's is no weight
            parts.append(factor)
        return self.folder / f"{sha256(json.dumps(parts).encode()).hexdigest()}.safetensors"
