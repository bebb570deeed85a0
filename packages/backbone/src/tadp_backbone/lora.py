"""LoRA weights merged into a backbone."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from .ldm.checkpoint import looks_like, read_checkpoint

if TYPE_CHECKING:
    from .backbone import DiffusionBackbone

_FILES = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
