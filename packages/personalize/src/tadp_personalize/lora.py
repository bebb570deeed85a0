"""Low-rank updates of UNet and text encoder through peft, in diffusers' file layout."""

import tempfile
from pathlib import Path

import peft
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPTextModel

from tadp_personalize._io import replacing
from tadp_personalize.config import LoraConfig
from tadp_personalize.io.tokens import FORMAT, FORMAT_KEY

LORA_FILE = "pytorch_lora_weights.safetensors"


def add_lora(
    module: UNet2DConditionModel | CLIPTextModel, targets: tuple[str, ...], config: LoraConfig, *, seed: int
) -> dict[str, nn.Parameter]:
    """Add an adapter to `module` in place, its output unchanged at first; return its parameters, float32, by name."""
    names = [name for name, _ in module.named_modules() if name.endswith(tuple(targets))]
    if not names:
        raise ValueError(
            f"no layer's name in {type(module).__name__} ends with {', '.join(targets)}; choose other targets"
        )
    with torch.random.fork_rng(devices=[]):  # peft draws the first matrix from the global generator
        torch.manual_seed(seed)
        module.add_adapter(peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=list(targets)))
    added = {name: parameter for name, parameter in module.named_parameters() if "lora_" in name}
    for parameter in added.values():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return added


def save_lora(path: Path, unet: UNet2DConditionModel, text_encoder: CLIPTextModel | None, base_identity: str) -> None:
    """Write the adapters as `load_lora_weights` reads them, alpha included, with the base's identity in the header."""
    parts = {"unet": unet} | ({"text_encoder": text_encoder} if text_encoder is not None else {})
    layers, metadata = {}, {}
    for name, module in parts.items():
        layers[f"{name}_lora_layers"] = convert_state_dict_to_diffusers(peft.get_peft_model_state_dict(module))
        metadata[f"{name}_lora_adapter_metadata"] = module.peft_config["default"].to_dict()
    with tempfile.TemporaryDirectory() as folder, replacing(path) as partial:
        StableDiffusionPipeline.save_lora_weights(folder, **layers, **metadata)
        written = Path(folder) / LORA_FILE
        with safe_open(written, framework="pt") as file:
            header = file.metadata() | {"base": base_identity, FORMAT_KEY: str(FORMAT)}
        save_file(load_file(written), partial, metadata=header)
