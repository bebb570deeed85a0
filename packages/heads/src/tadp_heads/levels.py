"""The levels of a feature pyramid, as every head of this package takes them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from tadp_heads.schema import LARGEST_SIZE

MOST_LEVELS = 32


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
    strides, sizes = [level.stride for level in result], [size for level in result for size in level]
    counted = 2 <= len(result) <= MOST_LEVELS and min(sizes) >= 1 and max(sizes) <= LARGEST_SIZE
    if not counted or strides != sorted(set(strides)):
        raise ValueError(
            f"levels {str([tuple(level) for level in result])[:200]}: expected two or more (channels, stride) pairs, "
            "finest first; pass backbone.levels"
        )
    return result
