"""Caption-like sentences for the part-of-speech tagger, put together from lists of words by a small grammar.

They need make no sense: a tagger learns from them which little words, endings and neighbours go with which tags.
"""

import random
import re
import tomllib
from importlib.resources import files

_LISTS = tomllib.loads(files("pretrain").joinpath("sentences.toml").read_text(encoding="utf-8"))
_WORDS = {name: [word.strip() for word in words.split(",")] for name, words in _LISTS.items()}
_SEVERAL = ("two", "three", "four", "some", "many", "the", "a group of", "a couple of", "a bunch of", "a lot of", "")
_ONE = ("a",) * 5 + ("the",) * 3 + ("his", "her", "their", "its", "another", "an", "", "")
_PLURALS = {
    "man": "men", "woman": "women", "child": "children", "person": "people", "people": "people", "foot": "feet",
    "goose": "geese", "mouse": "mice", "leaf": "leaves", "knife": "knives", "wolf": "wolves", "calf": "calves",
    "sheep": "sheep", "fish": "fish",
}  # fmt: skip


def sentence(rng: random.Random) -> list[str]:
    """The words of one sentence, such as "two men riding a red bike down the street and another dog"."""
    parts = [_things(rng)]
    if rng.random() < 0.6:
        parts.append(_doing(rng))
    if rng.random() < 0.2:
        parts.append(_things(rng))
    parts += [_place(rng) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
    if rng.random() < 0.25:
        parts += ["and", _things(rng)]
    if rng.random() < 0.1:
        parts += ["with", _things(rng), _doing(rng), _place(rng)]
    if rng.random() < 0.08:
        parts += ["and", rng.choice(["other", "another", "some other"]), _things(rng)]
    if rng.random() < 0.05:
        parts += ["as well as", _things(rng)]
    if rng.random() < 0.05:
        parts += ["that", rng.choice(["has", "have", "says", "reads"]), _things(rng)]
    if rng.random() < 0.1:
        parts.insert(0, rng.choice(["there is", "this is"]))
    return " ".join(parts).split()


def _things(rng: random.Random) -> str:
    noun = rng.choice(_WORDS["nouns"])
    described = [
        rng.choice(_WORDS["colours" if rng.random() < 0.3 else "adjectives"])
        for _ in range(rng.choice([0, 0, 0, 1, 1, 2]))
    ]
    if rng.random() < 0.2:
        noun = rng.choice(_WORDS["compounds"]) if rng.random() < 0.5 else f"{rng.choice(_WORDS['nouns'])} {noun}"
    if rng.random() < 0.3:
        *first, last = noun.split()
        return " ".join([rng.choice(_SEVERAL), *described, *first, _plural(last)])
    if rng.random() < 0.04:
        noun = f"{noun} 's {rng.choice(_WORDS['nouns'])}"
    return " ".join([rng.choice(_ONE), *described, noun])


def _doing(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.62:
        form = rng.choice(_WORDS["usual_forms"]) if rng.random() < 0.5 else _ing(rng.choice(_WORDS["verbs"]))
        particle = f" {rng.choice(_WORDS['particles'])}" if rng.random() < 0.2 else ""
        return rng.choice(["", "", "is ", "are ", "that is ", "that are ", "who is "]) + form + particle
    if kind < 0.75:
        return _third_person(rng.choice(_WORDS["verbs"]))
    return rng.choice(["", "is ", "are "]) + rng.choice(_WORDS["participles"])


def _place(rng: random.Random) -> str:
    if rng.random() < 0.12:
        return rng.choice(_WORDS["usual_places"])
    return f"{rng.choice(_WORDS['prepositions'])} {_things(rng)}"


def _plural(noun: str) -> str:
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if re.search(r"[^aeiou]y$", noun) else f"{noun}s"


def _third_person(verb: str) -> str:
    if verb.endswith(("s", "x", "ch", "sh")):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if re.search(r"[^aeiou]y$", verb) else f"{verb}s"


def _ing(verb: str) -> str:
    if verb == "lie":
        return "lying"
    if verb.endswith("e") and not verb.endswith("ee"):
        return f"{verb[:-1]}ing"
    doubled = re.search(r"[^aeiou][aeiou][bgmnpt]$", verb) and verb not in ("open", "enter")
    return f"{verb}{verb[-1]}ing" if doubled else f"{verb}ing"
