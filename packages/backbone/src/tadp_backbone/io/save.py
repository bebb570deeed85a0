"""From a backbone to a folder."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file

from .._io import naming
from .load import ADAPTERS_FILE, CONFIG_FILE, adapters_of
from .reference import PARTS, REFERENCE_FILE, Reference, as_json

if TYPE_CHECKING:
    from ..backbone import DiffusionBackbone


def save_backbone(backbone: "DiffusionBackbone", folder: Path, reference: Reference | None = None) -> None:
    """A diffusers folder (unet, vae, text_encoder, tokenizer, scheduler), the config, and the adapters if any.

    `reference`: to parts that are not copied; the folder is then for `DiffusionBackbone.from_pretrained` alone.
    Everything is written to a temporary name first and then renamed, part by part.
    """
    new, old = folder / ".new.part", folder / ".old.part"
    with naming(folder, new):
        try:
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)
            new.mkdir(parents=True)
            _write(backbone, new, reference)
            for part in sorted(new.iterdir()):
                if (folder / part.name).is_dir():
                    os.replace(folder / part.name, old)
                os.replace(part, folder / part.name)
                shutil.rmtree(old, ignore_errors=True)
            _remove_replaced(folder, reference)
        finally:
            for leftover in (new, old):
                shutil.rmtree(leftover, ignore_errors=True)


def _remove_replaced(folder: Path, reference: Reference | None) -> None:
    """What an earlier backbone left in `folder` in place of a reference, or the reference in place of its parts."""
    if reference is None:
        (folder / REFERENCE_FILE).unlink(missing_ok=True)
        return
    (folder / "model_index.json").unlink(missing_ok=True)
    for name in reference.parts & set(PARTS):
        shutil.rmtree(folder / name, ignore_errors=True)


def _write(backbone: "DiffusionBackbone", folder: Path, reference: Reference | None) -> None:
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
    }
    if backbone.text_encoder_2 is not None:
        index["_class_name"] = "StableDiffusionXLPipeline"
        index.pop("requires_safety_checker")
        index.pop("safety_checker")
        index["image_encoder"] = [None, None]
    for tokenizer in (backbone.tokenizer, backbone.tokenizer_2):
        _forget_last_call(tokenizer)
    for name in ("unet", "vae", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "scheduler"):
        part = getattr(backbone, name)
        if part is not None and (reference is None or name not in reference.parts):
            part.save_pretrained(folder / name)
            index[name] = [type(part).__module__.split(".")[0], type(part).__name__]
    name, values = ("model_index.json", index) if reference is None else (REFERENCE_FILE, as_json(reference))
    (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / CONFIG_FILE).write_text(json.dumps(asdict(backbone.config), indent=2) + "\n", encoding="utf-8")
    tensors = {
        f"{name}.{key}": tensor.contiguous()
        for name, module in adapters_of(backbone).items()
        for key, tensor in module.state_dict().items()
    }
    if tensors:
        save_file(tensors, folder / ADAPTERS_FILE)


def _forget_last_call(tokenizer: Any) -> None:
    """A fast tokenizer keeps the padding and truncation of its last call, and would write them: what is saved would
    depend on what was encoded before."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is not None:
        fast.no_padding()
        fast.no_truncation()
