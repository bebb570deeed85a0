"""Files from anywhere: whatever is wrong with one becomes a ValueError of one line that names it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor


@contextmanager
def reading(source: str | Path, fix: str) -> Iterator[None]:
    """Around a library's reading of `source`; `fix`: what the user can do.

    The libraries check neither types nor sizes, so that a malformed file leads them into exceptions of any kind.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{source} cannot be read: {reason_of(error)}; {fix}") from error


def reason_of(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file by name."""
    with reading(file, "it is no whole .safetensors file, so make it or download it again"):
        return load_file(file)


def read_json_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file."""
    fix = "it is no whole JSON file, so take the one that was saved with the weights"
    with reading(file, fix):
        values = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{file} holds a {type(values).__name__}, expected an object of settings")
    return values
