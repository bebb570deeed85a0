"""Class names: as prompts have them, and those of one data set found among those of another."""

import re
from collections.abc import Sequence

_BACKGROUND = ("background", "bg", "void")

_SYNONYMS = {
    "airplane": "aeroplane",
    "motorcycle": "motorbike",
    "television": "tvmonitor",
    "tv": "tvmonitor",
    "couch": "sofa",
}


def class_mapping(source: Sequence[str], target: Sequence[str], *, allow_missing: bool = False) -> dict[int, int]:
    """{index in `source`: index in `target`} of the same classes; VOC's and COCO's class-name variants are equal.

    A class of `target` that `source` lacks is an error unless allowed: it could never be found.
    """
    index = {_plain(name): i for i, name in enumerate(source)}
    unknown = [name for name in target if _plain(name) not in index]
    if unknown and not allow_missing:
        raise ValueError(f"classes {', '.join(unknown)} are not among those of the model: {', '.join(source)}")
    return {index[_plain(name)]: i for i, name in enumerate(target) if _plain(name) in index}


def _plain(name: str) -> str:
    """COCO's and VOC's class-name variants of twenty objects as one name, without blanks."""
    joined = name.lower().replace(" ", "").replace("_", "")
    return _SYNONYMS.get(joined, joined)


def is_background(name: str) -> bool:
    """Whether a class is what no object covers, in whatever variant its name is written: "Background", "_bg_"."""
    return re.sub(r"[\W\d_]", "", name).lower() in _BACKGROUND


def default_prompt_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Each class as prompts name it: words apart, "" for a background, which they leave out."""
    plain = tuple("" if is_background(name) else name for name in classes)
    apart = tuple(" ".join(name.replace("_", " ").split()) for name in plain)
    return apart if len(set(apart)) == len(set(plain)) else plain  # names stay as many as there are


def listed_names(names: Sequence[str]) -> tuple[str, ...]:
    """Of each class as prompts name it, those that prompts which list classes name: Pascal's background too."""
    return tuple(name for name in names if name)


def object_names(names: Sequence[str]) -> tuple[str, ...]:
    """Of each class as prompts name it, the objects: what captions are searched for, and maps by class are made of."""
    return tuple(name for name in listed_names(names) if not is_background(name))
