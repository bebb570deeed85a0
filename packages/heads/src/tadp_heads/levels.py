"""The levels of a feature pyramid, as every head of this package takes them."""

from collections.abc import Iterable
from typing import Any, NamedTuple


class Level(NamedTuple):
    """One level of a feature pyramid."""

    channels: int
    """Channels of the feature map, attention maps counted in."""
    stride: int
    """Image pixels per feature cell."""


def as_levels(levels: Iterable[Any]) -> tuple[Level, ...]:
    """Checks levels given as objects with `.channels` and `.stride` or as (channels, stride) pairs, finest first."""
    result = tuple(
        Level(int(item.channels), int(item.stride)) if hasattr(item, "stride") else Level(*(int(n) for n in item))
        for item in levels
    )
    strides = [level.stride for level in result]
    if len(result) < 2 or min(strides + [level.channels for level in result]) < 1 or strides != sorted(set(strides)):
        raise ValueError(
            f"levels {[tuple(level) for level in result]}: expected two or more (channels, stride) pairs, "
            "finest first; pass backbone.levels"
        )
    return result
