"""The nouns of a caption, as the paper's nouns-only prompts have them (TADP(NO))."""

import gzip
import io
import json
import logging
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from urllib.request import urlopen

from tadp_captioning.registry import WEIGHTS

logger = logging.getLogger(__name__)

Tagger = Callable[[Sequence[str]], list[tuple[str, str]]]
"""Words -> (word, Penn Treebank tag) each."""

TAGGER_FILE = "tagger.json.gz"
_DATA = "averaged_perceptron_tagger_eng"
_LETTERS = r"[^\W\d_]+"  # of any alphabet
_WORD = re.compile(rf"{_LETTERS}(?:-{_LETTERS})*|'s\b|\d+")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_CONNECT_S = 5.0
"""Seconds to wait for a server: NLTK itself waits for minutes behind a firewall that drops packets."""


def nouns_prompt(caption: str, tagger: Tagger) -> str:
    """Words tagged NN or NNS, each once, in order, joined by spaces (docs/reference.md, section 6); "" for none."""
    plain = unicodedata.normalize("NFC", caption).replace("\u2019", "'")  # a letter and its accent are one; dog's
    tagged = tagger(_WORD.findall(plain))
    return " ".join(dict.fromkeys(word for word, tag in tagged if tag in ("NN", "NNS")))


@cache
def load_tagger() -> Tagger:
    """NLTK's tagger, its data fetched once where there is a network; else `shipped_tagger`, which a warning says.

    Looked for once per process, and not on the network where HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set.
    """
    try:
        return nltk_tagger()
    except ValueError as error:
        if _fetch_data():
            return nltk_tagger()
        logger.warning("%s; continuing with the small tagger that comes with tadp_captioning", error)
        return shipped_tagger()


def _fetch_data() -> bool:
    import nltk

    if any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in _OFFLINE):
        return False
    try:
        urlopen(nltk.downloader._downloader.url, timeout=_CONNECT_S).close()
    except OSError:
        return False
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


@cache
def shipped_tagger() -> Tagger:
    """A small perceptron that comes with the package; `pretrain.tagger` made it, with NLTK's as its teacher.

    In the four published files of captions it finds 97 to 99 % of the nouns that NLTK's finds, and 98 to 100 % of what
    it finds are such.
    """
    from nltk.tag import PerceptronTagger

    tagger = PerceptronTagger(load=False)
    content = gzip.decompress((WEIGHTS / TAGGER_FILE).read_bytes())
    tagger.model.weights, tagger.tagdict, classes = json.loads(content)
    tagger.classes = tagger.model.classes = set(classes)
    return tagger.tag
