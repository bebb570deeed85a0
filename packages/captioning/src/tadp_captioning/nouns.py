"""The nouns of a caption, as the paper's nouns-only prompts have them (TADP(NO))."""

import io
import logging
import re
from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

Tagger = Callable[[Sequence[str]], list[tuple[str, str]]]
"""Words -> (word, Penn Treebank tag) each."""

_DATA = "averaged_perceptron_tagger_eng"
_WORD = re.compile(r"[A-Za-z]+(?:-[A-Za-z]+)*|'s\b|\d+")


def nouns_prompt(caption: str, tagger: Tagger) -> str:
    """Words tagged NN or NNS, each once, in order, joined by spaces (REFERENCE.md section 6); "" where none is."""
    tagged = tagger(_WORD.findall(caption))
    return " ".join(dict.fromkeys(word for word, tag in tagged if tag in ("NN", "NNS")))


def load_tagger() -> Tagger:
    """NLTK's tagger, its data fetched once where there is a network; else `rule_tagger`, which a warning says."""
    try:
        return nltk_tagger()
    except ValueError as error:
        if _fetch_data():
            return nltk_tagger()
        logger.warning("%s; going on with simple rules, which find most nouns of short captions", error)
        return rule_tagger


def _fetch_data() -> bool:
    import nltk

    return nltk.download(_DATA, quiet=True, print_error_to=io.StringIO())  # our own warning says it in one line


def nltk_tagger() -> Tagger:
    """NLTK's averaged perceptron, as in the paper; its data must be on NLTK's path."""
    from nltk.tag import PerceptronTagger

    try:
        return PerceptronTagger().tag
    except LookupError:
        raise ValueError(
            f"NLTK's tagger data is missing: run 'python -m nltk.downloader {_DATA}' "
            "or let NLTK_DATA name a folder that has it"
        ) from None


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CLOSED = _words(
    "a an the this that these those his her its their my your our some many several various different multiple other "
    "another each every all both no one two three four five six seven eight nine ten of in on at by with without from "
    "to into onto over under above below behind beside between through near next around along across against among "
    "inside outside off out up down about as like for and or but while when where which who whom whose there here it "
    "they them he she him i you we is are was were be been being has have had do does did can will would may not very "
    "together away forward back s too also just still only lot"
)
_ADJECTIVES = _words(
    "red blue green yellow black white brown gray grey orange purple pink golden blonde colorful dark bright light "
    "big small large little long short tall tiny huge old young new empty full open closed wooden beautiful cute nude "
    "naked curly bald happy sad angry busy sunny rainy snowy foggy wet dry high low double single modern ancient "
    "traditional furry fluffy stuffed dirty clean wide narrow round square more few same own bearded"
)
_VERBS = _words(
    "sit sits stand stands lie lies ride rides walk walks run runs play plays hold holds wear wears look looks eat "
    "eats fly flies drive drives show shows lay lays lit made seen left taken shown covered parked filled docked "
    "perched set laid held eating"
)
_ING_NOUNS = _words("building painting drawing ring king wing string clothing ceiling evening morning thing")


def rule_tagger(words: Sequence[str]) -> list[tuple[str, str]]:
    """Nouns by exclusion: what is no little word, no common adjective and has no verb's ending."""
    return [(word, _tag(word.lower())) for word in words]


def _tag(word: str) -> str:
    if word in _CLOSED or word == "'s" or word.isdigit():
        return "DT"
    if word in _ADJECTIVES or word.endswith(("ful", "ous", "ish")):
        return "JJ"
    if word in _VERBS or (word.endswith("ing") and word not in _ING_NOUNS):
        return "VBG"
    if word.endswith(("ed", "ly")) and len(word) > 4 and not word.endswith(("eed", "fly")):
        return "VBN"
    return "NNS" if word.endswith("s") and not word.endswith(("ss", "us")) else "NN"
