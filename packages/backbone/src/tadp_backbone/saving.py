"""From a backbone to a folder."""

import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import save_file

from .loading import ADAPTERS_FILE, CONFIG_FILE, adapters_of

if TYPE_CHECKING:
    from .backbone import DiffusionBackbone


def save_backbone(backbone: "DiffusionBackbone", folder: Path) -> None:
    """A diffusers folder (unet, vae, text_encoder, tokenizer, scheduler), the config, and the adapters if any.

    Everything is written beside its place first and then moved there, part by part.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".writing-") as temporary:
        _write(backbone, Path(temporary))
        for part in Path(temporary).iterdir():
            target = folder / part.name
            if target.is_dir():
                old = Path(temporary) / f"{part.name}.old"
                os.replace(target, old)
                os.replace(part, target)
                shutil.rmtree(old)
            else:
                os.replace(part, target)


def _write(backbone: "DiffusionBackbone", folder: Path) -> None:
    index = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
    }
    for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        part = getattr(backbone, name)
        if part is not None:
            part.save_pretrained(folder / name)
            index[name] = [type(part).__module__.split(".")[0], type(part).__name__]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    (folder / CONFIG_FILE).write_text(json.dumps(asdict(backbone.config), indent=2) + "\n")
    tensors = {
        f"{name}.{key}": tensor.contiguous()
        for name, module in adapters_of(backbone).items()
        for key, tensor in module.state_dict().items()
    }
    if tensors:
        save_file(tensors, folder / ADAPTERS_FILE)
