"""Images to latents: resize, crop, mirror, encode; once or at every draw.

B batch, N images, H W pixels, h w latent cells.
"""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderKL
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

_ENCODED_AT_ONCE = 8


class ImageLatents:
    """Latents of a few images, scaled to the UNet's unit variance, drawn from the VAE's posterior."""

    def __init__(
        self, images: Sequence[Image.Image], vae: AutoencoderKL, *, size: int, flip: float, crop: str, cache: bool
    ) -> None:
        self.images = [_squashed(image, size) if crop == "squash" else _resized(image, size) for image in images]
        self.vae, self.size, self.flip, self.crop = vae, size, flip, crop
        self._cached = self._encode_all() if cache else None

    def __len__(self) -> int:
        return len(self.images)

    def draw(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        """Return augmented latents (B, 4, h, w) of the images at `indices`, on the VAE's device."""
        mirrored = (torch.rand(len(indices), generator=generator) < self.flip).tolist()
        if self._cached is not None:
            picked = [index + len(self) * mirror for index, mirror in zip(indices, mirrored, strict=True)]
            mean, std = (moment[picked] for moment in self._cached)
        else:
            crops = [self._cropped(self.images[index], generator) for index in indices]
            mean, std = self._moments([_mirrored(c, m) for c, m in zip(crops, mirrored, strict=True)])
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        return (mean + std * noise) * self.vae.config.scaling_factor

    def modes(self) -> Tensor:
        """Return the posterior's modes (N, 4, h, w) of the centre crops, unmirrored, scaled."""
        crops = [_crop(image, self.size, 0.5, 0.5) for image in self.images]
        return self._moments(crops)[0] * self.vae.config.scaling_factor

    def _encode_all(self) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations (2 N, 4, h, w): the images, then their mirror images."""
        crops = [_crop(image, self.size, 0.5, 0.5) for image in self.images]
        return self._moments(crops + [ImageOps.mirror(c) for c in crops])

    def _cropped(self, image: Image.Image, generator: torch.Generator) -> Image.Image:
        x, y = torch.rand(2, generator=generator).tolist() if self.crop == "random" else (0.5, 0.5)
        return _crop(image, self.size, x, y)

    @torch.no_grad()
    def _moments(self, crops: list[Image.Image]) -> tuple[Tensor, Tensor]:
        bytes_ = torch.from_numpy(np.stack([np.asarray(c) for c in crops]))
        pixels = rearrange(bytes_, "b h w c -> b c h w") / 127.5 - 1  # (B, 3, H, W) in [-1, 1]
        posteriors = [
            self.vae.encode(chunk.to(self.vae.device, self.vae.dtype)).latent_dist
            for chunk in pixels.split(_ENCODED_AT_ONCE)
        ]
        return torch.cat([p.mean for p in posteriors]).float(), torch.cat([p.std for p in posteriors]).float()


def _squashed(image: Image.Image, size: int) -> Image.Image:
    """Each side to `size`, bicubic."""
    return image.resize((size, size), Image.Resampling.BICUBIC)


def _resized(image: Image.Image, size: int) -> Image.Image:
    """Shorter side to `size`, bicubic."""
    scale = size / min(image.size)
    return image.resize(
        (max(size, round(image.width * scale)), max(size, round(image.height * scale))), Image.Resampling.BICUBIC
    )


def _crop(image: Image.Image, size: int, x: float, y: float) -> Image.Image:
    """Cut the square at the fraction (x, y) in [0, 1] of the room there is."""
    left, top = round(x * (image.width - size)), round(y * (image.height - size))
    return image.crop((left, top, left + size, top + size))


def _mirrored(image: Image.Image, mirror: bool) -> Image.Image:
    return ImageOps.mirror(image) if mirror else image
