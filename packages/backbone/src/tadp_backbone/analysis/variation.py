"""Variations of an image: noised to a strength and denoised under a text."""

import torch
from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline
from PIL import Image

from ..backbone import DiffusionBackbone

STEPS = 50
"""Denoising steps at strength 1, as in the paper."""
GUIDANCE = 7.5
"""The pipeline's own."""


def img2img(backbone: DiffusionBackbone) -> StableDiffusionImg2ImgPipeline:
    """diffusers' own pipeline with the backbone's parts."""
    return StableDiffusionImg2ImgPipeline(
        vae=backbone.vae,
        text_encoder=backbone.text_encoder,
        tokenizer=backbone.tokenizer,
        unet=backbone.unet,
        scheduler=DDIMScheduler.from_config(backbone.scheduler.config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def vary(
    pipeline: StableDiffusionImg2ImgPipeline, image: Image.Image, text: str, strength: float, seed: int
) -> Image.Image:
    """A variation of the image by its text, of its size; `seed`: of the noise."""
    pipeline.set_progress_bar_config(disable=True)
    found = pipeline(
        prompt=text,
        image=image,
        strength=strength,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        generator=torch.Generator().manual_seed(seed),
    )
    return found.images[0].resize(image.size)
