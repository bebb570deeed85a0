"""What a check sees in one sample."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tadp_heads.data.errors import DataError

NEAREST_M, FARTHEST_M = 0.05, 1000.0
"""Depth all nearer or anywhere farther than these is taken for depth in other units."""


@dataclass(kw_only=True)
class Inspection:
    """What was seen in one sample."""

    size: tuple[int, int] | None = None
    """(width, height) in pixels."""
    counts: Counter = field(default_factory=Counter)
    """{class index: pixels or boxes}; a mask's id that stands for no class counts as len(classes) + id."""
    depth_range_m: tuple[float, float] | None = None
    """Nearest and farthest valid depth in metres."""
    problems: list[str] = field(default_factory=list)
    """One line each."""
    warnings: list[str] = field(default_factory=list)
    """What may be meant so, one line each."""


def inspect_sample(sample: Any) -> Inspection:
    """Size, classes or depths of a `Sample` of any task."""
    image, target = sample.image, sample.target
    size = (image.shape[-1], image.shape[-2])
    if isinstance(target, dict):
        return Inspection(size=size, counts=Counter(target["labels"].tolist()))
    if target.is_floating_point():
        return inspect_depth(sample, sample.id)
    return Inspection(size=size, counts=Counter(dict(enumerate(target.flatten().bincount().tolist()))))


def inspect_depth(sample: Any, where: Any) -> Inspection:
    """Depths of a sample; `where` is what an error names."""
    valid = sample.target[sample.target > 0]
    near, far = (float(valid.min()), float(valid.max())) if valid.numel() else (0.0, 0.0)
    if far < NEAREST_M or far > FARTHEST_M:
        raise DataError(
            where,
            found=f"depths up to {far:g} m" if valid.numel() else "no depth at all",
            expected=f"metres, the farthest between {NEAREST_M:g} and {FARTHEST_M:g} (16-bit PNG: in millimetres)",
            fix="convert the units, or take the image off the split files",
        )
    return Inspection(size=(sample.image.shape[-1], sample.image.shape[-2]), depth_range_m=(near, far))
