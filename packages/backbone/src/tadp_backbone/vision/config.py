"""How features of a vision transformer are read."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """What a pass through a vision transformer computes. A value out of its range is a ValueError."""

    taps: tuple[int, ...] = ()
    """Blocks whose patch features are the levels, counted from 1, four of them, finest level first; (): the last block
    of each quarter."""

    map_strides: tuple[int, ...] | None = None
    """Strides in image pixels at which cosine maps are appended to the features; None: the second and the third level's
    where the model has a text tower. () for no maps."""

    detach_maps: bool = True
    """Cut the gradient through the maps."""

    class_words: tuple[tuple[str, ...], ...] = ()
    """The words and phrases that name each class. Where given, there is one map per class, 0 for a class that the
    prompt does not name; (): one map, that of the whole text."""

    class_input: Literal["maps", "presence"] = "maps"
    """With class words, the channel appended to the features for each class. "maps": its map. "presence": 1 in every
    cell where the prompt names the class, else 0."""

    image_mean: tuple[float, ...] = ()
    image_std: tuple[float, ...] = ()
    """Of pixels in [0, 1], with which the model was trained; (): the family's."""

    image_limit: float = 1.5
    """Largest absolute pixel value accepted. Images lie in [-1, 1]; resizing may overshoot a little."""

    def __post_init__(self) -> None:
        # lists come from JSON and TOML
        object.__setattr__(self, "taps", tuple(_block(tap) for tap in self.taps))
        object.__setattr__(self, "class_words", tuple(tuple(words) for words in self.class_words))
        for name in ("map_strides", "image_mean", "image_std"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        if self.class_input not in ("maps", "presence"):
            raise ValueError(f"class_input is {self.class_input!r}, expected 'maps' or 'presence'")
        if self.class_input == "presence" and not self.class_words:
            raise ValueError("class_input 'presence' needs class_words: the words that name each class")
        if len(self.image_mean) not in (0, 3) or len(self.image_std) not in (0, 3) or 0 in self.image_std:
            raise ValueError(
                f"image_mean {self.image_mean}, image_std {self.image_std}: expected three numbers each, the second "
                "above 0"
            )
        if self.image_limit <= 0:
            raise ValueError(f"image_limit is {self.image_limit}, expected above 0")


def _block(tap: object) -> int:
    """A block's number, also as text: recipes list taps as texts."""
    if not str(tap).isdecimal():
        raise ValueError(f"tap {tap!r}: those of a vision transformer are numbers of its blocks, from 1 on, e.g. 6")
    return int(str(tap))
