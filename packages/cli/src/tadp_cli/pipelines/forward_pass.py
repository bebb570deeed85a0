"""One pass of a backbone over whole images, outside a prediction."""

# B batch, T tokens, D width of the context, H W image pixels

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone, Features
from tadp_backbone.attention_maps import Attention, attention_of, recording
from tadp_heads.preprocessing import RANGES
from tadp_heads.seeds import image_generators


def run_pass(
    backbone: DiffusionBackbone, images: Tensor, context: Tensor, image_range: str = "sd", seed: int = 0
) -> Features:
    """uint8 images (B, 3, H, W), context (B or 1, T, D) -> Features; equal images get equal noise at every call.

    `image_range`: in which of RANGES the backbone takes its images. `seed`: of the noise, where the backbone draws.
    """
    generators = image_generators(images, seed) if backbone.is_stochastic else None
    return backbone(RANGES[image_range](images).to(backbone.device), context, generator=generators)


@torch.no_grad()
def attention_pass(
    backbone: DiffusionBackbone,
    image: Tensor,
    context: Tensor,
    layers: dict[str, int],
    image_range: str = "sd",
    seed: int = 0,
) -> Attention:
    """uint8 image (3, H, W), context (1, T, D) -> the maps of these `layers`, {path: stride}."""
    with recording(backbone, layers) as recorded:
        run_pass(backbone, image[None], context, image_range, seed)
    height, width = image.shape[-2:]
    return attention_of(recorded, layers, (height, width))
