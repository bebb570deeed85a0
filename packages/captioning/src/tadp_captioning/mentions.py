"""Which classes a caption speaks of: names, plurals and synonyms matched as whole words."""

import re
from collections.abc import Mapping, Sequence

SYNONYMS: dict[str, tuple[str, ...]] = {
    "aeroplane": ("airplane", "plane", "jet", "airliner"),
    "airplane": ("aeroplane", "plane", "jet", "airliner"),
    "bicycle": ("bike", "cycle"),
    "bird": ("owl", "duck", "goose", "swan", "chicken", "rooster", "hummingbird", "parrot", "eagle", "pigeon"),
    "boat": ("ship", "sailboat", "canoe", "kayak", "ferry", "yacht"),
    "car": ("vehicle", "taxi", "sedan", "suv", "van"),
    "cat": ("kitten",),
    "chair": ("armchair", "stool"),
    "cow": ("cattle", "bull", "calf", "ox"),
    "couch": ("sofa",),
    "dining table": ("table",),
    "diningtable": ("dining table", "table"),
    "dog": ("puppy", "labrador", "terrier", "husky", "chihuahua", "retriever"),
    "horse": ("pony", "foal"),
    "motorbike": ("motorcycle", "motor bike", "scooter"),
    "motorcycle": ("motorbike", "motor bike", "scooter"),
    "person": ("man", "woman", "people", "boy", "girl", "child", "baby", "lady", "guy", "player", "rider", "soldier"),
    "potted plant": ("plant", "houseplant"),
    "pottedplant": ("potted plant", "plant", "houseplant"),
    "rider": ("cyclist", "motorcyclist"),
    "sheep": ("lamb", "ram"),
    "sofa": ("couch",),
    "train": ("locomotive", "tram", "subway"),
    "tvmonitor": ("tv", "television", "monitor", "screen"),
    "television": ("tv", "monitor", "screen", "tvmonitor"),
    "tv": ("television", "monitor", "screen", "tvmonitor"),
    "traffic light": ("stoplight",),
}
"""Words that stand for a class of VOC, Cityscapes or ADE20K in BLIP-2's captions; extend it by an argument."""

_IRREGULAR = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "persons",
    "goose": "geese",
    "calf": "calves",
    "ox": "oxen",
    "mouse": "mice",
    "foot": "feet",
    "leaf": "leaves",
    "knife": "knives",
    "shelf": "shelves",
}


def plural(noun: str) -> str:
    """The English plural of a noun or of a name's last word."""
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif re.search(r"(?:s|x|z|ch|sh)$", last):
        last += "es"
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}" if head else last


class ClassMentions:
    """Finds classes in captions.

    `classes` are names as in a data set; "traffic-light, stop light" style lists of ADE20K count as several names.
    `synonyms` adds words a class name.
    """

    def __init__(self, classes: Sequence[str], synonyms: Mapping[str, Sequence[str]] = SYNONYMS):
        self.classes = tuple(classes)
        self._patterns = {name: _pattern(name, synonyms.get(name, ())) for name in classes}

    def __call__(self, caption: str) -> list[str]:
        """Classes that the caption names, in label order."""
        return [name for name, pattern in self._patterns.items() if pattern.search(caption)]


def class_words(name: str, synonyms: Sequence[str] | None = None) -> list[str]:
    """All that names a class: its name or names, synonyms (None: those of SYNONYMS), plurals; the longest first."""
    synonyms = SYNONYMS.get(name, ()) if synonyms is None else synonyms
    words = [part.strip().replace("_", " ") for part in name.split(",")] + list(synonyms)
    return sorted(
        {form for word in words if word for form in (word, plural(word))}, key=lambda form: (-len(form), form)
    )


def _pattern(name: str, synonyms: Sequence[str]) -> re.Pattern[str]:
    forms = class_words(name, synonyms)
    anywhere = "|".join(re.escape(form).replace(r"\ ", "[ -]").replace(r"\-", "[ -]") for form in forms)
    return re.compile(rf"\b(?:{anywhere})\b", re.IGNORECASE)
