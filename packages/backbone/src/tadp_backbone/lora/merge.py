"""LoRA weights merged into a backbone."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from diffusers import StableDiffusionPipeline
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from .._read_errors import reading
from ..ldm import read_checkpoint
from ..ldm.checkpoint import looks_like

if TYPE_CHECKING:
    from ..backbone import DiffusionBackbone

_PEFT_CONFIG = "adapter_config.json"
_FIX = "use a complete LoRA of this model, as .safetensors"


def merge_lora(backbone: "DiffusionBackbone", source: Path, scale: float) -> None:
    """Add `scale` times a LoRA to the weights of the UNet, and of the text encoder where the LoRA has such a part.

    Sources: a peft folder for the UNet, a folder with peft folders `unet` and `text_encoder`, or diffusers' (or
    kohya's) file of LoRA weights, named itself or by its folder.
    """
    if not source.exists():
        raise ValueError(f"no such LoRA: {source}")
    parts = {"unet": backbone.unet, "text_encoder": backbone.text_encoder}
    if (source / _PEFT_CONFIG).is_file():
        _merge_peft(backbone.unet, source, scale)
        return
    folders = {name: source / name for name in parts if (source / name / _PEFT_CONFIG).is_file()}
    if not folders:
        _merge_file(backbone, source, scale)
    for name, folder in folders.items():
        if parts[name] is None:
            raise ValueError(f"{source} has a LoRA for the {name}, which this backbone does not have")
        _merge_peft(parts[name], folder, scale)


def _merge_peft(model: nn.Module, folder: Path, scale: float) -> None:
    trains = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    with reading(folder, _FIX):
        wrapped = PeftModel.from_pretrained(model, str(folder))
    _scale(wrapped, scale)
    wrapped.merge_and_unload()
    _forget_adapter(model, trains)


def _merge_file(backbone: "DiffusionBackbone", source: Path, scale: float) -> None:
    files = [source] if source.is_file() else sorted(source.glob("*.safetensors"))
    if len(files) != 1:
        raise ValueError(
            f"{source} has {len(files)} .safetensors files and no {_PEFT_CONFIG}; expected one file of LoRA weights"
        )
    # Alphas are set below: diffusers gives a layer whose alpha is not the most frequent one another layer's.
    with reading(files[0], _FIX):
        state, _, metadata = StableDiffusionPipeline.lora_state_dict(
            str(files[0].parent), weight_name=files[0].name, local_files_only=True, return_lora_metadata=True
        )
    if not any(key.startswith(("unet.", "text_encoder.")) and "lora" in key for key in state):
        raise ValueError(f"{files[0]} holds no LoRA of a Stable Diffusion model; it looks like {looks_like(state)}")
    text = any(key.startswith("text_encoder.") for key in state)
    if text and backbone.text_encoder is None:
        raise ValueError(f"{files[0]} has a LoRA for the text encoder, which this backbone does not have")
    models = [backbone.unet, *([backbone.text_encoder] if text else [])]
    trains = [{name: p.requires_grad for name, p in model.named_parameters()} for model in models]
    with reading(files[0], _FIX):
        if any(key.startswith("unet.") for key in state):
            StableDiffusionPipeline.load_lora_into_unet(state, None, backbone.unet, metadata=metadata)
        if text:
            StableDiffusionPipeline.load_lora_into_text_encoder(
                state, None, backbone.text_encoder, prefix="text_encoder", metadata=metadata
            )
    own_alphas = _alphas_by_layer(read_checkpoint(files[0]))
    for part, name, model, flags in zip(("unet.", "text_encoder."), ("unet", "te"), models, trains, strict=False):
        written = [k for k in state if k.startswith(part) and k.endswith(("lora_A.weight", "down.weight"))]
        found = sum(isinstance(module, BaseTunerLayer) for module in model.modules())
        if found < len(written):
            raise ValueError(f"{files[0]} updates {len(written)} layers, and this backbone has {found} of them")
        if own_alphas:
            _set_alphas(model, f"lora_{name}_", own_alphas)
        merge_in_place(model, scale)
        _forget_adapter(model, flags)


def _alphas_by_layer(state: Mapping[str, Tensor]) -> dict[str, float]:
    """{kohya's name of a layer: its alpha} of a file of LoRA weights, in kohya's or in diffusers' names."""
    alphas = {key.removesuffix(".alpha"): float(value) for key, value in state.items() if key.endswith(".alpha")}
    parts = (("unet.", "lora_unet_"), ("text_encoder.", "lora_te_"))
    for ours, kohya in parts:
        alphas |= {
            kohya + key.removeprefix(ours).replace(".", "_"): alpha
            for key, alpha in alphas.items()
            if key.startswith(ours)
        }
    return alphas


def _set_alphas(model: nn.Module, prefix: str, alphas: Mapping[str, float]) -> None:
    """Scale each layer's update by its own alpha over its own rank; a layer without an alpha has its rank for it."""
    for path, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            name = path.replace(".", "_")
            # transformers 4 kept CLIP's layers one level deeper than transformers 5, and files still do
            alpha = alphas.get(prefix + name, alphas.get(f"{prefix}text_model_{name}"))
            for adapter, rank in module.r.items():
                module.scaling[adapter] = 1.0 if alpha is None else alpha / rank


def merge_in_place(model: nn.Module, scale: float) -> None:
    """Add `scale` times the LoRA updates of a model's layers to their weights, and remove them."""
    _scale(model, scale)
    for path, module in list(model.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            model.set_submodule(path, module.get_base_layer())


def _forget_adapter(model: nn.Module, trains: Mapping[str, bool]) -> None:
    """Remove what the libraries keep of a loaded adapter; peft also freezes what it wraps."""
    model.__dict__.pop("peft_config", None)
    model.__dict__["_hf_peft_config_loaded"] = False
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trains[name])


def _scale(model: nn.Module, scale: float) -> None:
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.scale_layer(scale)
