"""Removing the domain from captions, so that a modifier can put one in (paper 4.3, there done by GPT-3.5)."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tadp_captioning.caption_store import CaptionStore
from tadp_captioning.cleaning.lexicon import ALL
from tadp_captioning.cleaning.rules import Rules
from tadp_captioning.domains import Domain, get_domain
from tadp_captioning.formats import tidy


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """What cleaning did to a list of captions."""

    captions: list[str]
    changed: int
    """Captions that are not what they were, list dashes and outer spaces aside."""
    residues: Counter[str]
    """Style words left, with the number of captions that hold them."""
    residual: int
    """Captions with at least one style word left."""


class Cleaner(Protocol):
    """What takes style words out of captions."""

    name: str
    """ "rules" or "openai:MODEL"; written into the records of the captions that it cleaned."""

    def clean(self, captions: Sequence[str]) -> Cleaned:
        """One caption for each, in order."""
        ...


def what_changed(before: Sequence[str], after: list[str], style_words: Callable[[str], set[str]]) -> Cleaned:
    """The report on captions and what was made of them."""
    left = [style_words(caption) for caption in after]
    return Cleaned(
        captions=after,
        changed=sum(a != b for a, b in zip(after, before, strict=True)),
        residues=Counter(word for words in left for word in words),
        residual=sum(bool(words) for words in left),
    )


class RuleCleaner:
    """Removes what names a domain, by an explicit lexicon; keeps the content, and never empties a caption.

    `domain`: a name of the table or a `Domain`; None: every domain of the table.
    """

    name = "rules"

    def __init__(self, domain: str | Domain | None = None):
        if isinstance(domain, str):
            domain = get_domain(domain)
        self._rules = Rules(domain.removes if domain else ALL)

    def clean(self, captions: Sequence[str]) -> Cleaned:
        """One caption for each, in order; a caption without style words is returned unchanged."""
        before = [tidy(caption) for caption in captions]
        return what_changed(before, [self.clean_one(caption) for caption in before], self.style_words)

    def clean_one(self, caption: str) -> str:
        """One caption without its domain; unchanged where nothing but the domain would go."""
        return self._rules.apply(caption) if self.style_words(caption) else caption

    def style_words(self, caption: str) -> set[str]:
        """The style words that a caption holds, in lower case."""
        return self._rules.style_words(caption)


def clean_store(store: CaptionStore, cleaner: Cleaner) -> tuple[CaptionStore, Cleaned]:
    """All captions of a store cleaned, in a new store that records the cleaner; images without a caption stay."""
    records = list(store.records())
    written = [record for record in records if record.error is None]
    cleaned = cleaner.clean([record.caption for record in written])
    texts = {record.id: text for record, text in zip(written, cleaned.captions, strict=True)}
    new = (replace(r.with_caption(texts[r.id]), cleaner=cleaner.name) if r.id in texts else r for r in records)
    return CaptionStore(new), cleaned


def cleaner_of(store: CaptionStore) -> str:
    """Name of the cleaner that the captions' records name, or of all of them; "" where none does."""
    return ", ".join(sorted({record.cleaner for record in store.records() if record.cleaner}))
