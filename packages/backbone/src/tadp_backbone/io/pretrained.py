"""A backbone from files and to files, and what is loaded into one that is there: tokens, a LoRA, a UNet, a VAE."""

import json
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ..config import BackboneConfig
from ..text.cache import state_digest
from ..vae import Vae, check_replacement, check_vae

if TYPE_CHECKING:
    from ..backbone import DiffusionBackbone


class Pretrained:
    """The methods of `DiffusionBackbone` that read and write files."""

    unet: UNet2DConditionModel
    vae: Vae | None
    text_encoder: CLIPTextModel | None
    text_encoder_2: CLIPTextModelWithProjection | None
    tokenizer: CLIPTokenizer | None
    config: BackboneConfig

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        vae: str | Path | None = None,
        config: BackboneConfig | None = None,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        offline: bool = False,
        keep_decoder: bool = False,
        tokenizer: str | Path | None = None,
        revision: str | None = None,
        **changes: Any,
    ) -> Self:
        """A name of the table, a hub id, a diffusers folder or one original LDM file (.ckpt, .safetensors).

        `revision`: of a hub id, a branch, tag or commit; None: the newest, of names of the table the one that is
        pinned there.

        `vae`: None for the source's own; "taesd" for the encoder distilled from it, for names of the table; or a
        diffusers folder (.safetensors), see `use_vae`.
        `config`: None for the one saved with the weights or the table's; `changes` replace single fields of it.
        `offline` opens no connection, as HF_HUB_OFFLINE does. The VAE's decoder is dropped unless `keep_decoder`.
        `tokenizer`: folder of the tokenizer, for LDM files, which contain none. Weights are loaded strictly and without
        running code: ValueError for a file that is damaged or of another architecture, for an unknown setting, and for
        a vision transformer (`load_backbone`); FileNotFoundError for weights that cannot be fetched.
        """
        from ..vision.table import is_vision
        from .hub import locate_vae
        from .load import load_parts, load_vae

        if is_vision(source):
            raise ValueError(f"{source} is a vision transformer, and a diffusion model is needed here, such as sd15")
        folder = None if vae is None else locate_vae(vae, source, offline=offline)
        parts = load_parts(
            source,
            dtype=dtype,
            offline=offline,
            keep_decoder=keep_decoder,
            tokenizer=tokenizer,
            vae_weights=folder is None,
            revision=revision,
        )
        backbone = parts.build(cast("type[DiffusionBackbone]", cls), config, changes)
        backbone.source = parts.source or str(source)
        if folder is not None:
            backbone.use_vae(load_vae(folder, dtype, keep_decoder))
        return cast(Self, backbone.to(device))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a diffusers folder with the config; `from_pretrained(folder)` reads the same backbone back."""
        from .save import save_backbone

        save_backbone(cast("DiffusionBackbone", self), Path(folder))

    def save_reference(self, folder: str | Path) -> None:
        """As `save_pretrained`, without copies of parts that are as published: of names of the table and hub ids.

        Of those the folder records name, revision and SHA-256, by which `from_pretrained` fetches and checks them.
        """
        from .load import load_part
        from .reference import reference_to
        from .save import save_backbone

        backbone = cast("DiffusionBackbone", self)
        save_backbone(backbone, Path(folder), reference_to(backbone, load_part))

    def load_tokens(self, file: str | Path, *, token: str | None = None, revision: str | None = None) -> list[str]:
        """Add learned tokens (Textual Inversion) to tokenizer and text encoder; returns them.

        Takes diffusers' learned_embeds (.safetensors, .bin), a folder or hub repository with them at `revision`, and
        A1111 embeddings (.pt, .safetensors). A token of several vectors is written once in prompts. `token` names the
        one of a file that has no name for it. ValueError for vectors of another width, and for a word that the
        tokenizer has.
        """
        from ..text.textual_inversion import add_tokens, read_tokens
        from .repository import local_folder

        if self.text_encoder_2 is not None:
            raise ValueError("learned tokens are for one text encoder, and SDXL has two: use Stable Diffusion 1 or 2")
        if self.text_encoder is None or self.tokenizer is None:
            raise ValueError("learned tokens need a backbone with a tokenizer and a text encoder")
        return add_tokens(self.tokenizer, self.text_encoder, read_tokens(local_folder(file, revision=revision), token))

    def load_unet(self, source: str | Path, *, revision: str | None = None) -> Self:
        """Replace the UNet's weights (DreamBooth, CleanDIFT) by those of a diffusers folder or of one original file.

        `source`: or a repository owner/name of the hub, at `revision`. ValueError for weights of another architecture.
        """
        from .repository import local_folder
        from .unet_weights import load_unet_weights

        load_unet_weights(self.unet, local_folder(source, revision=revision))
        return self

    def use_vae(self, vae: Vae | str | Path) -> Self:
        """Encode images with another VAE of the same latents: an AutoencoderKL or AutoencoderTiny, or one's folder.

        An AutoencoderTiny such as TAESD takes a fraction of the full VAE's time; heads trained with one run with the
        other. It gets the UNet's device and the type of the VAE before it; `optimize` comes later. Raises ValueError if
        its latents have another shape, and for an AutoencoderTiny with `posterior="sample"`.
        """
        from .hub import vae_folder
        from .load import load_vae

        old, config = self.vae, self.config
        dtype = self.unet.dtype if old is None else old.dtype
        if isinstance(vae, str | Path):
            vae = load_vae(vae_folder(vae), dtype, keep_decoder=False)
        check_replacement(vae, old)
        if isinstance(old, AutoencoderKL) and isinstance(vae, AutoencoderTiny):
            config = replace(config, vae_scaling_factor=old.config.scaling_factor)
        check_vae(vae, self.unet.config.in_channels, config)
        # In a list: the `to` of diffusers' models warns of modules to be kept in float32 where there are none.
        nn.ModuleList([vae]).to(self.unet.device, dtype).requires_grad_(False).eval()
        self.vae, self.config = vae, config
        return self

    def load_lora(self, folder: str | Path, *, scale: float = 1.0, revision: str | None = None) -> Self:
        """Merge a LoRA (folder or file, of diffusers or peft) into the UNet, and the text encoder if it has one.

        `folder`: or a repository owner/name of the hub, at `revision`. `scale` times the update is added. ValueError
        for a LoRA of other layers.
        """
        from ..lora.merge import merge_lora
        from .repository import local_folder

        merge_lora(cast("DiffusionBackbone", self), local_folder(folder, revision=revision), scale)
        return self

    def fingerprint(self) -> str:
        """SHA-256 of the weights of all that a pass runs, in their number format, and of all settings.

        The text encoder is left out: what it gives is an input of the pass. Takes seconds for Stable Diffusion.
        """
        backbone = cast("DiffusionBackbone", self)
        digest = sha256(json.dumps(asdict(self.config)).encode())
        for part in (self.unet, self.vae, backbone.text_adapter, backbone.learnt_context):
            # Names with an underscore are of the file: where it was read, and which version wrote it.
            settings = {key: value for key, value in getattr(part, "config", {}).items() if not key.startswith("_")}
            digest.update(json.dumps([type(part).__name__, settings], default=str).encode())
            digest.update(b"" if part is None else state_digest(part).encode())
        return digest.hexdigest()
