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

_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese characters."""
_IRREGULAR = {
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "persons",
    "goose": "geese",
    "ox": "oxen",
    "mouse": "mice",
    "foot": "feet",
}


def plurals(noun: str) -> set[str]:
    """English plurals of a noun or of a name's last word; both where English has two (mangos, mangoes)."""
    head, _, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        found = {_IRREGULAR[last]}
    elif re.search(r"(?:s|x|z|ch|sh)$", last):
        found = {last + "es"}
    elif re.search(r"[^aeiou]y$", last):
        found = {last[:-1] + "ies"}
    elif re.search(r"[^aeiou]o$", last):
        found = {last + "s", last + "es"}
    elif ending := re.search(r"(?<=[a-z]{2})fe?$", last):
        found = {last + "s", last[: ending.start()] + "ves"}
    else:
        found = {last + "s"}
    return {f"{head} {word}" if head else word for word in found}


class ClassMentions:
    """Finds classes in captions.

    `classes` are names as in a data set; "traffic-light, stop light" style lists of ADE20K count as several names.
    `synonyms` adds words per class name.
    """

    def __init__(self, classes: Sequence[str], synonyms: Mapping[str, Sequence[str]] = SYNONYMS):
        self.classes = tuple(classes)
        self._patterns = {name: _pattern(name, _synonyms(name, synonyms)) for name in classes}

    def __call__(self, caption: str) -> list[str]:
        """Classes that the caption names, in label order."""
        return [name for name, pattern in self._patterns.items() if pattern.search(caption)]


def class_words(name: str, synonyms: Sequence[str] | None = None) -> list[str]:
    """All that names a class: its name or names, synonyms (None: those of SYNONYMS), plurals; the longest first."""
    synonyms = _synonyms(name, SYNONYMS) if synonyms is None else synonyms
    words = [part.strip().replace("_", " ") for part in name.split(",")] + list(synonyms)
    return sorted(
        {form for word in words if word for form in (word, *plurals(word))}, key=lambda form: (-len(form), form)
    )


def _synonyms(name: str, synonyms: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Those of the name, or of its usual form: "Traffic_Light" has those of "traffic light"."""
    return synonyms.get(name) or synonyms.get(" ".join(re.split(r"[\s_-]+", name.strip())).casefold(), ())


def _pattern(name: str, synonyms: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(_form_pattern, class_words(name, synonyms))), re.IGNORECASE)


def _form_pattern(form: str) -> str:
    """The words of a form, whole; in scripts without blanks between words, anywhere."""
    text = re.escape(form).replace(r"\ ", "[ -]").replace(r"\-", "[ -]")
    return text if _UNSPACED.search(form) else rf"(?<!\w)(?:{text})(?!\w)"
