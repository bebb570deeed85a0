"""From files to the parts of a backbone."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from .._read_errors import check_sizes, reading
from ..config import BackboneConfig
from ..ldm import read_checkpoint, text_encoder_from_ldm, unet_from_ldm, vae_from_ldm
from ..ldm.checkpoint import looks_like
from ..ldm.vae import drop_decoder
from ..registry import BACKBONES
from ..vae import Vae
from .files import read_json_object, read_safetensors
from .hub import fetch_unet, locate
from .reference import PARTS, folder_of, read_reference
from .schema import check_fields

CONFIG_FILE = "config.json"
SCHEDULER_FILE = "scheduler_config.json"
ADAPTERS_FILE = "adapters.safetensors"
CLIP_TOKENIZER = "openai/clip-vit-large-patch14"

_log = logging.getLogger(__name__)
_FIX = "use a complete folder that diffusers or transformers wrote, its weights as .safetensors"


Backbone = TypeVar("Backbone", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a backbone is built of, as read from disk."""

    unet: UNet2DConditionModel
    vae: Vae | None
    text_encoder: CLIPTextModel | None
    tokenizer: CLIPTokenizer | None
    scheduler: DDPMScheduler | None
    config: BackboneConfig
    adapters: Mapping[str, Tensor]
    """Tensors of the text adapter and the learned context, where the backbone was saved with them."""
    source: str | None = None
    """Of a folder that refers to a published backbone, that one."""
    text_encoder_2: CLIPTextModelWithProjection | None = None
    tokenizer_2: CLIPTokenizer | None = None
    """Of Stable Diffusion XL."""

    def build(self, cls: type[Backbone], config: BackboneConfig | None, changes: Mapping[str, Any]) -> Backbone:
        unknown = set(changes) - {f.name for f in fields(BackboneConfig)}
        if unknown:
            known = ", ".join(f.name for f in fields(BackboneConfig))
            raise ValueError(f"the backbone's config has no {', '.join(sorted(unknown))}; its fields are {known}")
        config = replace(config or self.config, **changes)
        backbone = cls(
            unet=self.unet,
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            text_encoder_2=self.text_encoder_2,
            tokenizer_2=self.tokenizer_2,
            scheduler=self.scheduler,
            config=config,
        )
        for name, module in adapters_of(backbone).items():
            below = {key.removeprefix(f"{name}."): t for key, t in self.adapters.items() if key.startswith(f"{name}.")}
            if below:
                module.load_state_dict(below)
        return backbone


def adapters_of(backbone: nn.Module) -> dict[str, nn.Module]:
    """The small trainable parts that a backbone has, by attribute name."""
    found = {name: getattr(backbone, name) for name in ("text_adapter", "learnt_context")}
    return {name: module for name, module in found.items() if module is not None}


def load_parts(
    source: str | Path,
    *,
    dtype: torch.dtype,
    offline: bool,
    keep_decoder: bool,
    tokenizer: str | Path | None,
    vae_weights: bool = True,
    revision: str | None = None,
) -> Parts:
    """Read a backbone from anything that `DiffusionBackbone.from_pretrained` takes.

    Without `vae_weights` a folder's VAE is built from its config alone, on the device "meta": another takes its place.
    """
    path = locate(source, offline=offline, revision=revision)
    entry = BACKBONES.get(str(source))
    if path.is_file():
        return _from_ldm_file(path, dtype, offline, keep_decoder, tokenizer)
    config = None if entry is None else entry.config
    parts = _from_folder(path, dtype, offline, keep_decoder, tokenizer, config, vae_weights)
    weights = fetch_unet(str(source), offline=offline)
    if weights is not None:
        with reading(weights, "download it again"):
            parts.unet.load_state_dict(read_safetensors(weights))
    return parts


def load_part(folder: Path, dtype: torch.dtype) -> nn.Module:
    """The UNet, VAE (without decoder) or text encoder in the folder of its name."""
    if folder.name == "vae":
        return load_vae(folder, dtype, keep_decoder=False)
    return load_model(UNet2DConditionModel if folder.name == "unet" else CLIPTextModel, folder, dtype)


def load_model(cls: type[Any], folder: Path, dtype: torch.dtype, optional: tuple[str, ...] = ()) -> Any:
    """A complete diffusers or transformers model of a folder: a missing or unexpected tensor is an error."""
    if not (folder / CONFIG_FILE).is_file():
        raise ValueError(f"{folder} has no {CONFIG_FILE}; expected a folder that diffusers or transformers wrote")
    check_sizes(read_json_object(folder / CONFIG_FILE), folder / CONFIG_FILE)
    with reading(folder, _FIX), quiet("diffusers", "transformers"):  # the report is checked here
        model, report = cls.from_pretrained(folder, output_loading_info=True, local_files_only=True, dtype=dtype)
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(optional))
    if missing:
        unexpected = looks_like(report["unexpected_keys"])
        raise ValueError(
            f"{folder} is incomplete: {len(missing)} tensors missing, the first is {missing[0]}; "
            f"the others in it look like {unexpected}"
        )
    return model


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Inside, loggers of these names report errors alone."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    try:
        for name in loggers:
            logging.getLogger(name).setLevel(logging.ERROR)
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _from_folder(
    folder: Path,
    dtype: torch.dtype,
    offline: bool,
    keep_decoder: bool,
    tokenizer: str | Path | None,
    config: BackboneConfig | None,
    vae_weights: bool,
) -> Parts:
    reference = read_reference(folder)
    referred = set() if reference is None else reference.parts
    if "unet" not in referred and not (folder / "unet" / CONFIG_FILE).is_file():
        there = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
        raise ValueError(f"{folder} is no diffusers folder: unet/{CONFIG_FILE} is missing, there is {there}")
    if config is None:
        config = read_config(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else BackboneConfig()
    adapters = folder / ADAPTERS_FILE
    scheduler = folder / "scheduler" / SCHEDULER_FILE
    elsewhere = folder if reference is None else folder_of(reference, folder, offline=offline)
    place = {name: (elsewhere if name in referred else folder) / name for name in PARTS}
    vae = None
    if place["vae"].is_dir():
        vae = load_vae(place["vae"], dtype, keep_decoder) if vae_weights else _empty_vae(place["vae"], dtype)
    return Parts(  # what is read fastest comes first, for what is wrong with it
        config=config,
        tokenizer=_load_tokenizer(folder if tokenizer is None else Path(tokenizer)),
        scheduler=_load_scheduler(scheduler.parent) if scheduler.is_file() else None,
        adapters=read_checkpoint(adapters) if adapters.is_file() else {},
        text_encoder=(
            load_model(CLIPTextModel, place["text_encoder"], dtype) if place["text_encoder"].is_dir() else None
        ),
        text_encoder_2=(
            load_model(CLIPTextModelWithProjection, folder / "text_encoder_2", dtype)
            if (folder / "text_encoder_2").is_dir()
            else None
        ),
        tokenizer_2=_load_tokenizer(folder / "tokenizer_2"),
        vae=vae,
        unet=load_model(UNet2DConditionModel, place["unet"], dtype),
        source=None if reference is None else reference.source,
    )


def read_config(file: Path) -> BackboneConfig:
    """The BackboneConfig in a JSON file."""
    values = read_json_object(file)
    check_fields(BackboneConfig, values, file)
    return BackboneConfig(**values)


def _load_scheduler(folder: Path) -> DDPMScheduler:
    check_sizes(read_json_object(folder / SCHEDULER_FILE), folder / SCHEDULER_FILE)
    with reading(folder, _FIX):
        return DDPMScheduler.from_pretrained(folder)


def load_vae(folder: Path, dtype: torch.dtype, keep_decoder: bool) -> Vae:
    """The AutoencoderKL or AutoencoderTiny of a diffusers folder."""
    # A backbone saved without its decoder has none to load.
    optional = () if keep_decoder else ("decoder.", "post_quant_conv.")
    vae = load_model(_vae_class(folder), folder, dtype, optional)
    if not keep_decoder:
        drop_decoder(vae)
    return vae


def _empty_vae(folder: Path, dtype: torch.dtype) -> Vae:
    with reading(folder, _FIX), quiet("diffusers"), torch.device("meta"):
        return _vae_class(folder).from_config(read_json_object(folder / CONFIG_FILE)).to(dtype)


def _vae_class(folder: Path) -> type[Vae]:
    config = folder / CONFIG_FILE
    distilled = config.is_file() and read_json_object(config).get("_class_name") == AutoencoderTiny.__name__
    return AutoencoderTiny if distilled else AutoencoderKL


def _load_tokenizer(folder: Path) -> CLIPTokenizer | None:
    """The tokenizer in `folder` or its subfolder `tokenizer`; None where there is none."""
    for candidate in (folder / "tokenizer", folder):
        if (candidate / "vocab.json").is_file() or (candidate / "tokenizer.json").is_file():
            with reading(candidate, _FIX):
                return CLIPTokenizer.from_pretrained(candidate, local_files_only=True)
    return None


def _from_ldm_file(
    file: Path, dtype: torch.dtype, offline: bool, keep_decoder: bool, tokenizer: str | Path | None
) -> Parts:
    state = read_checkpoint(file)
    first = "model.diffusion_model.input_blocks.0.0.weight"
    if first not in state:
        what = looks_like(state)
        raise ValueError(f"{file} is no Stable Diffusion checkpoint: {first} is missing; it looks like {what}")
    vae = vae_from_ldm(state)
    if not keep_decoder:
        drop_decoder(vae)
    words = _tokenizer_near(file, offline) if tokenizer is None else _load_tokenizer(Path(tokenizer))
    if words is not None and any(key.startswith("cond_stage_model.model.") for key in state):
        words.pad_token = "!"  # id 0: OpenCLIP, hence Stable Diffusion 2, pads with zeros
    models = {"unet": unet_from_ldm(state), "vae": vae, "text_encoder": text_encoder_from_ldm(state)}
    with quiet("diffusers"):  # it advises against casting, even where nothing has to stay in float32
        models = {name: model.to(dtype) for name, model in models.items()}
    return Parts(
        **models,
        tokenizer=words,
        scheduler=None,
        config=BackboneConfig(),
        adapters={},
    )


def _tokenizer_near(file: Path, offline: bool) -> CLIPTokenizer | None:
    """LDM files contain no tokenizer: CLIP's is next to the file, in the hub's cache, or downloaded."""
    tokenizer = _load_tokenizer(file.parent)
    if tokenizer is not None:
        return tokenizer
    try:
        return CLIPTokenizer.from_pretrained(CLIP_TOKENIZER, local_files_only=offline)
    except OSError:
        _log.warning(
            "no tokenizer for %s: put vocab.json and merges.txt of %s next to it, or name their folder with tokenizer=",
            file.name,
            CLIP_TOKENIZER,
        )
        return None
