"""The diffusion model that is personalized: its parts, its sizes, its identity."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from tadp_personalize._read_errors import check_sizes, reading

_VALUES_PER_TENSOR = 8
_FIX = "use a complete folder that diffusers wrote, its weights as .safetensors"


@dataclass(frozen=True, kw_only=True)
class Base:
    """The parts of a Stable Diffusion of the first or second generation."""

    name: str
    """Folder's name or hub id, for people."""
    identity: str
    """Fingerprint of the weights, for checks; see `identity_of`."""
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: Any
    """The pipeline's own scheduler: its betas and its kind of prediction are what the UNet was trained with."""

    @property
    def latent_stride(self) -> int:
        """Pixels per latent cell."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def image_size(self) -> int:
        """Side in pixels of the square images the UNet was trained on."""
        return self.unet.config.sample_size * self.latent_stride

    @property
    def device(self) -> torch.device:
        """Where the UNet lies."""
        return self.unet.device

    def noise_schedule(self) -> DDPMScheduler:
        """Return the forward process with the model's own betas and kind of prediction."""
        return DDPMScheduler.from_config({k: v for k, v in self.scheduler.config.items() if k in _TRAINING_KEYS})

    def pipeline(self, scheduler: Any = None) -> StableDiffusionPipeline:
        """Return the parts as a pipeline; they stay the same objects."""
        return StableDiffusionPipeline(
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            unet=self.unet,
            scheduler=scheduler or self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    def modules(self) -> tuple[nn.Module, ...]:
        """Return the three networks."""
        return self.unet, self.vae, self.text_encoder


_TRAINING_KEYS = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "rescale_betas_zero_snr",
)


def load_base(
    base: Any, *, dtype: torch.dtype = torch.float32, full_precision: tuple[str, ...] = (), copied: tuple[str, ...] = ()
) -> Base:
    """Return the parts of `base`: a diffusers folder, a hub id, or anything with a pipeline's attributes (unet, ...).

    From a folder, networks are loaded in `dtype`, those named in `full_precision` in float32. Of built parts, the
    tokenizer and those named in `copied` are copied, so that the caller's own stay as they are.
    """
    if isinstance(base, str | PathLike):
        return _load_folder(str(base), dtype, full_precision)
    return _take_parts(base, copied)


def identity_of(unet: nn.Module, text_encoder: nn.Module) -> str:
    """Fingerprint a model: the names, the shapes and the first values of all tensors of UNet and text encoder.

    Values are taken in float16, so a model and its float16 copy are the same. Rows added to the token embedding change
    nothing.
    """
    digest = hashlib.sha256()
    for part, module in (("unet", unet), ("text_encoder", text_encoder)):
        for name, tensor in sorted(_named(module)):
            rows = name.endswith("token_embedding.weight")
            values = tensor.detach().flatten()[:_VALUES_PER_TENSOR].to("cpu", torch.float16)
            digest.update(f"{part}.{name}{tuple(tensor.shape[1 if rows else 0 :])}".encode())
            digest.update(values.numpy().tobytes())
    return f"sha256:{digest.hexdigest()[:32]}"


@contextmanager
def frozen(base: Base, *, checkpointing: bool = False) -> Iterator[None]:
    """Within, no network takes gradients or drops units, and the UNet recomputes its activations if `checkpointing`.

    Afterwards they are as they were.
    """
    flags = [(p, p.requires_grad) for module in base.modules() for p in module.parameters()]
    modes = [(module, module.training) for module in base.modules()]
    switch = checkpointing and not base.unet.is_gradient_checkpointing
    if switch:
        base.unet.enable_gradient_checkpointing()
    try:
        for module in base.modules():
            module.requires_grad_(False).eval()
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
        for module, mode in modes:
            module.train(mode)
        if switch:
            base.unet.disable_gradient_checkpointing()


def _named(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    # transformers 4 kept the text model one level deeper than transformers 5
    for name, tensor in module.named_parameters():
        yield name.removeprefix("text_model."), tensor


def _load_folder(folder: str, dtype: torch.dtype, full_precision: tuple[str, ...]) -> Base:
    if Path(folder).exists() and not (Path(folder) / "model_index.json").is_file():
        raise ValueError(
            f"{folder} is not a diffusers folder: it has no model_index.json; write one with save_pretrained"
        )
    with reading(folder, _FIX):
        index = StableDiffusionPipeline.load_config(folder)
    if "text_encoder_2" in index or "unet" not in index:
        raise ValueError(
            f"{folder} holds a {index.get('_class_name')}; expected a StableDiffusionPipeline with one text encoder"
        )

    _check_posterior(folder, str(index.get("vae")))

    def load(cls: type[Any], part: str) -> Any:
        check_sizes(_config_of(cls, folder, part), f"{folder}/{part}")
        with reading(f"{folder}/{part}", _FIX):
            return cls.from_pretrained(folder, subfolder=part, dtype=torch.float32 if part in full_precision else dtype)

    with reading(f"{folder}/scheduler", _FIX):
        schedule = scheduler_class(index)
    check_sizes(_config_of(schedule, folder, "scheduler"), f"{folder}/scheduler")
    with reading(f"{folder}/scheduler", _FIX):
        scheduler = schedule.from_pretrained(folder, subfolder="scheduler")
    with reading(f"{folder}/tokenizer", _FIX):
        tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
    unet, text_encoder = load(UNet2DConditionModel, "unet"), load(CLIPTextModel, "text_encoder")
    return _checked(
        Base(
            name=_name_of(folder),
            identity=identity_of(unet, text_encoder),
            unet=unet,
            vae=load(AutoencoderKL, "vae"),
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            scheduler=scheduler,
        )
    )


def _check_posterior(name: str, vae: str) -> None:
    if AutoencoderTiny.__name__ in vae:
        raise ValueError(
            f"{name} encodes with an AutoencoderTiny, and personalization draws latents from the full VAE's posterior: "
            "give a base with its AutoencoderKL"
        )


def _config_of(cls: type[Any], folder: str, part: str) -> Mapping[str, Any]:
    with reading(f"{folder}/{part}", _FIX):
        if issubclass(cls, diffusers.ConfigMixin):
            return cls.load_config(folder, subfolder=part)
        return cls.config_class.from_pretrained(folder, subfolder=part).to_dict()


def scheduler_class(index: Mapping[str, Any]) -> type[Any]:
    """The class that a pipeline's index names, which must be one of diffusers' schedulers."""
    found = getattr(diffusers, index["scheduler"][1])
    if not issubclass(found, diffusers.SchedulerMixin):
        raise ValueError(f"{index['scheduler'][1]} is no scheduler")
    return found


def _name_of(folder: str) -> str:
    """Return the hub id, or the folder's own name."""
    path = Path(folder)
    if path.parent.name == "snapshots":  # the hub's cache: models--owner--name/snapshots/revision
        return path.parent.parent.name.removeprefix("models--").replace("--", "/")
    return path.name if path.exists() else folder


def _take_parts(parts: Any, copied: tuple[str, ...]) -> Base:
    missing = [
        name for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler") if getattr(parts, name, None) is None
    ]
    if missing:
        raise ValueError(f"the base has no {', '.join(missing)}; give a diffusers folder or a StableDiffusionPipeline")
    _check_posterior("the base", type(parts.vae).__name__)
    take = {
        name: deepcopy(getattr(parts, name)) if name in copied else getattr(parts, name)
        for name in ("unet", "text_encoder")
    }
    name = getattr(parts, "name", "") or getattr(parts.unet.config, "_name_or_path", "") or type(parts).__name__
    return _checked(
        Base(
            name=Path(name).name,
            identity=identity_of(parts.unet, parts.text_encoder),
            vae=parts.vae,
            tokenizer=deepcopy(parts.tokenizer),
            scheduler=parts.scheduler,
            **take,
        )
    )


def _checked(base: Base) -> Base:
    if base.unet.config.in_channels != base.vae.config.latent_channels:
        raise ValueError(
            f"the UNet of {base.name} takes {base.unet.config.in_channels} channels and its VAE gives "
            f"{base.vae.config.latent_channels}; inpainting and depth-guided models cannot be personalized"
        )
    return base
