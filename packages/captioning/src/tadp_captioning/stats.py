"""How good a data set's captions are: lengths, defects, style words, classes named; and how two stores differ."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tadp_captioning.caption_store import CaptionStore
from tadp_captioning.cleaning.cleaner import RuleCleaner
from tadp_captioning.formats import tidy
from tadp_captioning.mentions.words import ClassMentions
from tadp_captioning.prompts.oracle import PrecisionRecall, Presence, precision_recall

CLIP_LENGTH = 77
"""Tokens of CLIP's context, start and end included; what is longer is cut."""
_LOOP = 3
"""Times that a looping caption has a phrase in a row, at least."""
DEFECTS = ("failed", "empty", "looping", "over-length")
"""What makes a caption bad whatever its use; a style word is wanted in some."""


class CaptionStats(NamedTuple):
    """Counts are captions; ids of each defect are in `flagged`."""

    count: int  # type: ignore[assignment]  # in place of the tuple's method
    mean_words: float
    mean_tokens: float | None
    """In CLIP tokens, start and end included; None without a tokenizer."""
    over_length: float | None
    """Share of captions over 77 tokens, in [0, 1]; None without a tokenizer."""
    duplicates: int
    """Captions whose text another image has too."""
    style_words: Counter[str]
    flagged: dict[str, list[str]]
    """Defect -> ids: "failed", "empty", "looping", "over-length", "style", and "untidy" for a list dash or outer spaces
    in the file, which reading has dropped."""


def caption_stats(
    store: CaptionStore,
    *,
    tokenizer: Callable[..., Any] | None = None,
    cleaner: RuleCleaner | None = None,
) -> CaptionStats:
    """Statistics of a store; `tokenizer` is a transformers CLIPTokenizer, `cleaner` says what a style word is."""
    cleaner = cleaner or RuleCleaner()
    texts = {record.id: record.caption for record in store.records() if record.error is None}
    style = {image_id: cleaner.style_words(text) for image_id, text in texts.items()}
    tokens = _token_counts(texts, tokenizer)
    flagged = {
        "failed": list(store.failed()),
        "empty": [i for i, text in texts.items() if not text.strip()],
        "looping": [i for i, text in texts.items() if is_looping(text)],
        "over-length": [i for i, length in tokens.items() if length > CLIP_LENGTH],
        "style": [i for i, words in style.items() if words],
        "untidy": [r.id for r in store.records() if any(text != tidy(text) for text in r.extra.get("captions", ()))],
    }
    times = Counter(texts.values())
    return CaptionStats(
        count=len(texts),
        mean_words=_mean([len(text.split()) for text in texts.values()]),
        mean_tokens=_mean(list(tokens.values())) if tokenizer else None,
        over_length=len(flagged["over-length"]) / max(1, len(texts)) if tokenizer else None,
        duplicates=sum(times[text] > 1 for text in texts.values()),
        style_words=Counter(word for words in style.values() for word in words),
        flagged=flagged,
    )


def bad_captions(stats: CaptionStats, defects: Sequence[str] = DEFECTS) -> list[str]:
    """Ids with one of the defects, each once: those to be captioned again."""
    return list(dict.fromkeys(image_id for defect in defects for image_id in stats.flagged[defect]))


def is_looping(caption: str) -> bool:
    """Whether some phrase of one to eight words stands three times in a row, as where decoding got stuck."""
    words = re.findall(r"\w+", caption.lower())
    for n in range(1, min(8, len(words) // _LOOP) + 1):
        for start in range(len(words) - n * _LOOP + 1):
            phrase = words[start : start + n]
            if all(words[start + k * n : start + (k + 1) * n] == phrase for k in range(1, _LOOP)):
                return True
    return False


class ClassReport(NamedTuple):
    """How well captions name the classes that are there, as in the paper's Figure S5."""

    overall: PrecisionRecall
    by_class: dict[str, PrecisionRecall]
    """Of classes that are present or named somewhere."""
    by_image: dict[str, PrecisionRecall]
    images: Counter[str]
    """In how many images each class is present."""


def class_report(
    store: CaptionStore,
    present: Presence,
    classes: Sequence[str],
    *,
    mentions: Callable[[str], Sequence[str]] | None = None,
) -> ClassReport:
    """Precision and recall of the classes that the captions of `present`'s images name.

    `mentions` says which classes a caption names: by words (`ClassMentions`, the default) or by a text encoder
    (`CosineMentions`).
    """
    find = mentions or ClassMentions(classes)
    named = {image_id: find(store[image_id]) for image_id in present}

    def only(wanted: str, presence: Presence) -> Presence:
        return {image_id: [name for name in names if name == wanted] for image_id, names in presence.items()}

    seen = {name for presence in (named, present) for names in presence.values() for name in names}
    return ClassReport(
        overall=precision_recall(named, present),
        by_class={name: precision_recall(only(name, named), only(name, present)) for name in classes if name in seen},
        by_image={i: precision_recall({i: named[i]}, {i: present[i]}) for i in present},
        images=Counter(name for names in present.values() for name in set(names)),
    )


class StoreDiff(NamedTuple):
    """What changed from one store to another."""

    changed: dict[str, tuple[str, str]]
    """Id -> caption before and after."""
    only_before: list[str]
    only_after: list[str]


def diff_stores(before: CaptionStore, after: CaptionStore) -> StoreDiff:
    """Captions that differ, and ids that only one of the two has."""
    old = {record.id: record.caption for record in before.records()}
    new = {record.id: record.caption for record in after.records()}
    return StoreDiff(
        changed={i: (old[i], new[i]) for i in old if i in new and old[i] != new[i]},
        only_before=[i for i in old if i not in new],
        only_after=[i for i in new if i not in old],
    )


def _token_counts(texts: dict[str, str], tokenizer: Callable[..., Any] | None) -> dict[str, int]:
    if tokenizer is None or not texts:
        return {}
    encoded = tokenizer(list(texts.values()), truncation=False, padding=False, verbose=False)["input_ids"]
    return {image_id: len(ids) for image_id, ids in zip(texts, encoded, strict=True)}


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0
