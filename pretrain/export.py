"""Writes trained parts as the folders that are shipped: float16 safetensors, the libraries' own layout."""

import copy
from dataclasses import asdict
from pathlib import Path

from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from transformers import Blip2ForConditionalGeneration, Blip2Processor, CLIPTextModel, CLIPTokenizer

from pretrain.unet import build_scheduler
from tadp_backbone.io.load import CONFIG_FILE
from tadp_backbone.registry import BACKBONES
from tadp_heads.atomic_files import replacing_folder, write_json


def export_pipeline(
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    folder: Path,
) -> None:
    """A folder that `StableDiffusionPipeline.from_pretrained` opens, with our backbone's settings next to its parts.

    Copies of the modules are written: training continues in float32.
    """
    vae, unet, text_encoder = (copy.deepcopy(module).half() for module in (vae, unet, text_encoder))
    pipeline = StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    with replacing_folder(folder) as partial:
        pipeline.save_pretrained(partial, safe_serialization=True)
        write_json(partial / CONFIG_FILE, asdict(BACKBONES["tiny"].config))


def export_captioner(model: Blip2ForConditionalGeneration, processor: Blip2Processor, folder: Path) -> None:
    """Model and processor in one folder. The model is left in float16."""
    with replacing_folder(folder) as partial:
        model.half().save_pretrained(partial)
        processor.save_pretrained(partial)
