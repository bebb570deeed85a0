"""Writes trained parts as the folders that are shipped: float16 safetensors, the libraries' own layout."""

import json
from dataclasses import asdict
from pathlib import Path

from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import Blip2ForConditionalGeneration, Blip2Processor, CLIPTextModel, CLIPTokenizer

from tadp_backbone.loading import CONFIG_FILE
from tadp_backbone.table import BACKBONES
from tadp_cli.pretrain.unet import build_scheduler


def export_pipeline(
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    folder: Path,
) -> None:
    """A folder that `StableDiffusionPipeline.from_pretrained` opens, with our backbone's settings beside its parts.

    The modules are left in float16.
    """
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        unet=unet.half(),
        text_encoder=text_encoder.half(),
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    (folder / CONFIG_FILE).write_text(json.dumps(asdict(BACKBONES["tiny"].config), indent=2) + "\n", encoding="utf-8")


def export_captioner(model: Blip2ForConditionalGeneration, processor: Blip2Processor, folder: Path) -> None:
    """Model and processor in one folder. The model is left in float16."""
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)
