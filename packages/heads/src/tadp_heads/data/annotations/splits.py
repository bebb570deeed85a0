"""Splits by seed, for folders that have none."""

import hashlib
import re
from collections.abc import Sequence

from tadp_heads.data.settings import SplitSettings

_MAIN = ("train", "val", "test")
_NAMES = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


def split_by_seed(ids: Sequence[str], settings: SplitSettings) -> dict[str, tuple[str, ...]]:
    """{"train", "val" and, if asked for, "test": ids}.

    An image's split is a function of the seed and of its group, not of the other images: it stays as more are labelled.
    Only where a split would be empty does it take the group that is nearest to it.
    """
    place = {group: _share(settings.seed, group) for group in {_group(name, settings.group) for name in ids}}
    bounds = {"val": settings.val, "test": settings.val + settings.test, "train": 1.0}
    split_of = {
        group: next(split for split, bound in bounds.items() if share < bound) for group, share in place.items()
    }
    wanted = [split for split in _MAIN if split == "train" or getattr(settings, split)]
    if len(place) >= len(wanted):
        for split in wanted:
            _fill(split, split_of, place)
    return {
        split: tuple(name for name in ids if split_of[_group(name, settings.group)] == split)
        for split in wanted
        if split in split_of.values()
    }


def split_key(name: str) -> str:
    """A tool's name for a split as ours: "valid" and "validation" are "val"."""
    return _NAMES.get(name.lower(), name.lower() if name.lower() in _MAIN else name)


def _fill(split: str, split_of: dict[str, str], place: dict[str, float]) -> None:
    """Give an empty split a group of one that has several."""
    if split in split_of.values():
        return
    counts = {name: list(split_of.values()).count(name) for name in split_of.values()}
    spare = [group for group in sorted(place, key=place.__getitem__) if counts[split_of[group]] > 1]
    split_of[spare[-1 if split == "train" else 0]] = split


def _group(name: str, pattern: str) -> str:
    if not pattern:
        return name
    if pattern == "folder":
        return name.rpartition("/")[0]
    found = re.search(pattern, name)
    return name if found is None else found[1] if found.re.groups and found[1] is not None else found[0]


def _share(seed: int, group: str) -> float:
    """In [0, 1), uniform over groups."""
    digest = hashlib.sha256(f"{seed}:{group}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
