"""What goes into a pass: checked once at the backbone's border, padded to sizes that the network takes, and the context
as the UNet's arguments."""

# B batch, T tokens, D width of the context, K classes, H W image pixels, h w latent or feature cells

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

DIFFUSION_STEPS = 1000
_SIZES = 6
"""Size conditioning (SDXL, section 2.2): original size, top-left corner of the crop, target size."""


class Inputs(NamedTuple):
    """The tensors of a pass, on its device; of images and latents one is there."""

    timesteps: Tensor
    """(B,)"""
    context: Tensor
    """(B, T, D)"""
    named: Tensor
    """(B, T, K): which class a token names; K 0 without class words."""
    images: Tensor | None = None
    """(B, 3, H, W) in [-1, 1], padded."""
    latents: Tensor | None = None
    """(B, 4, h, w), scaled, padded."""
    posterior_noise: Tensor | None = None
    """(B, 4, h, w), where the VAE's posterior is sampled."""
    step_noise: Tensor | None = None
    """(B, 4, h, w), where noise of the level of `timesteps` is added."""


def check_images(images: Tensor, channels: int) -> None:
    """Floats (B, C, H, W)."""
    if images.ndim != 4 or images.shape[1] != channels or not images.is_floating_point() or not images.numel():
        raise ValueError(f"images are {images.dtype} {tuple(images.shape)}, expected floats (B, {channels}, H, W)")


def check_range(images: Tensor, limit: float) -> None:
    """Values of at most `limit` in size. Reads one back: on a GPU the host waits for it."""
    if torch.compiler.is_compiling():  # a graph cannot branch on values
        return
    largest = images.detach().abs().amax()
    if not largest <= limit:  # a NaN fails too
        raise ValueError(
            f"images reach {largest:.4g} in size, expected values in [-1, 1] (uint8 pixels / 127.5 - 1); "
            "raise image_limit in the config for another normalisation"
        )


def check_latents(latents: Tensor, channels: int) -> None:
    """Floats (B, C, h, w)."""
    if latents.ndim != 4 or latents.shape[1] != channels or not latents.is_floating_point():
        raise ValueError(f"latents are {latents.dtype} {tuple(latents.shape)}, expected floats (B, {channels}, h, w)")


def size_within(covered: tuple[int, int], size: tuple[int, int] | None) -> tuple[int, int]:
    """The image's (H, W) in pixels, at most what its latents cover; None: all of it."""
    if size is None:
        return covered
    if not all(0 < given <= most for given, most in zip(size, covered, strict=True)):
        raise ValueError(f"image_size is {tuple(size)}, expected (H, W) of at most {covered}, which the latents cover")
    return size


def check_context(context: Tensor, batch: int, width: int) -> None:
    """(B or 1, T, width)."""
    if context.ndim != 3 or context.shape[-1] != width or context.shape[0] not in (1, batch) or not context.shape[1]:
        raise ValueError(f"context is {tuple(context.shape)}, expected ({batch} or 1, tokens, {width})")


def timesteps_of(timestep: int | Tensor, batch: int, device: torch.device) -> Tensor:
    """One diffusion step for all, or one per image -> (B,) on the device; values that lie on a GPU are not checked."""
    if type(timestep) is int and 0 <= timestep < DIFFUSION_STEPS:
        return torch.full((batch,), timestep, device=device)  # made there: a copy would keep the host waiting
    steps = torch.as_tensor(timestep)
    if steps.is_floating_point() or tuple(steps.shape) not in ((), (1,), (batch,)):
        raise ValueError(f"timestep is {steps.dtype} {tuple(steps.shape)}, expected an integer or ({batch},) of them")
    if steps.device.type == "cpu" and not (steps.min() >= 0 and steps.max() < DIFFUSION_STEPS):
        raise ValueError(f"timestep is {steps.tolist()}, expected 0 to {DIFFUSION_STEPS - 1}")
    return steps.to(device).expand(batch)


def pad_to_multiple(x: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """(B, C, H, W) -> padded with zeros at the bottom and the right, (bottom, right) as added.

    Zero is mid grey for an image in [-1, 1]; so does the paper's depth model (docs/reference.md, section 2).
    """
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return (F.pad(x, (0, right, 0, bottom)) if bottom or right else x), (bottom, right)


def padded_size(image_size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """(H, W) of an image after `pad_to_multiple`."""
    height, width = image_size
    return height + -height % multiple, width + -width % multiple


def cut_to(x: Tensor, image_size: tuple[int, int], stride: int) -> Tensor:
    """Keep the cells of (B, C, h, w) that an image of (H, W) pixels touches."""
    return x[..., : -(-image_size[0] // stride), : -(-image_size[1] // stride)]


def has_pooled_row(unet: "UNet2DConditionModel") -> bool:
    """Whether the last row of a context is the pooled embedding, as for Stable Diffusion XL's UNet.

    Raise ValueError for a UNet that is conditioned on anything but the text.
    """
    kind = unet.config.addition_embed_type
    if kind not in (None, "text_time"):
        raise ValueError(f"a UNet with addition_embed_type {kind!r}: expected none, or 'text_time' as SDXL has it")
    return kind == "text_time"


def conditioning(unet: "UNet2DConditionModel", context: Tensor, size: tuple[int, int]) -> dict[str, Any]:
    """A context as arguments of the UNet's forward; `size`: the padded image's (H, W) in pixels.

    SDXL's UNet is conditioned on an image that was neither scaled nor cropped.
    """
    if not has_pooled_row(unet):
        return {"encoder_hidden_states": context}
    width = unet.config.projection_class_embeddings_input_dim - _SIZES * unet.config.addition_time_embed_dim
    sizes = torch.tensor([[*size, 0, 0, *size]], device=context.device, dtype=context.dtype)
    return {
        "encoder_hidden_states": context[:, :-1],
        "added_cond_kwargs": {"text_embeds": context[:, -1, :width], "time_ids": sizes.expand(len(context), -1)},
    }
