"""Recognises Scenes on disk by the scenes_SPLIT.json that `write_scenes` leaves next to a split."""

import json
from pathlib import Path

_IMAGE_FOLDERS = ("images", "JPEGImages")
_KEYS = {"task", "look", "seed"}
"""What the file has held in every version."""


def is_scenes(path: str | Path) -> bool:
    """Whether `write_scenes` wrote the data set in this folder, this folder of its images, or this image of it."""
    path = Path(path).absolute()
    inner = next((folder for folder in (path, path.parent) if folder.name in _IMAGE_FOLDERS), None)
    roots = (path,) if inner is None else (path, inner.parent)
    return any(_is_marker(file) for root in roots for file in sorted(root.glob("scenes_*.json")))


def _is_marker(file: Path) -> bool:
    try:
        identity = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(identity, dict) and identity.keys() >= _KEYS
