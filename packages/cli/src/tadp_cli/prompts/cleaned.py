"""Captions without the words for a domain, which the prompts name once more."""

from collections.abc import Sequence

from tadp_captioning import CaptionStore, CleaningLimits, Domain, clean_store, load_cleaner
from tadp_cli.console.reporter import Report
from tadp_cli.prompts.prompter import naming_the_rules


def cleaned_captions(
    store: CaptionStore, ids: Sequence[str], cleaner: str, domain: Domain, limits: CleaningLimits, report: Report
) -> CaptionStore:
    """The captions of these images without the words for the domain."""
    with naming_the_rules(cleaner):
        worker = load_cleaner(cleaner, domain, limits, progress=lambda done, total: report("clean", done, total))
        return clean_store(CaptionStore(store.record(image_id) for image_id in ids), worker)[0]
