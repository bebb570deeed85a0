"""Files from anywhere: whatever is wrong with one becomes a ValueError of one line that names it."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from .._read_errors import reading

_FIX = "it is no complete .safetensors file, so make it or download it again"


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file by name."""
    with reading(file, _FIX):
        return load_file(file)


def read_metadata(file: Path) -> dict[str, str]:
    """The header of a .safetensors file; {} where it has none."""
    with reading(file, _FIX), safe_open(file, framework="pt") as tensors:
        return tensors.metadata() or {}


def read_json_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    fix = "it is no complete JSON file, so take the one that was saved with the weights"
    with reading(file, fix):
        values = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{file} holds a {type(values).__name__}, expected an object of settings")
    return values
