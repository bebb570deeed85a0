"""Folders compared file by file, each as what it is: numbers within a tolerance, all else equal."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

_TIMES = ("seconds", "images_per_second")
"""Keys of what differs from run to run."""


def differences(expected: Path, found: Path) -> list[str]:
    """One line per file that is missing, left over or of other content."""
    here, there = (
        {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} for root in (expected, found)
    )
    lines = [f"missing {name}" for name in sorted(here - there)] + [
        f"left over {name}" for name in sorted(there - here)
    ]
    for name in sorted(here & there):
        if not _same(_read(expected / name), _read(found / name)):
            lines.append(f"other content {name}")
    return lines


def _read(path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True)
    if path.suffix == ".npy":
        return torch.from_numpy(np.load(path))
    if path.suffix == ".png":
        with Image.open(path) as image:
            return torch.from_numpy(np.asarray(image).astype(np.float32) / 255)
    return path.read_bytes()


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return (
            isinstance(b, torch.Tensor)
            and a.shape == b.shape
            and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5, equal_nan=True)
        )
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a if k not in _TIMES)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6) or (math.isnan(a) and math.isnan(b))
    return a == b
