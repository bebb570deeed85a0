"""What the commands need, and what this machine and installation have."""

from collections.abc import Iterator

from tadp_cli.doctor.findings import GIB, Finding
from tadp_cli.doctor.machine import machine
from tadp_cli.doctor.memory_fit import what_fits
from tadp_cli.doctor.versions import versions
from tadp_cli.inputs.fetch import NAMES, cached_bytes, homes


def examine() -> Iterator[Finding]:
    """All findings; opens no connection."""
    yield from machine()
    yield from versions()
    sizes = cached_bytes()
    yield from (_weights(name, sizes) for name in NAMES)
    yield from what_fits()
    yield _tagger()
    yield _network()


def _weights(name: str, sizes: dict[str, int]) -> Finding:
    repositories = homes(name)
    if not repositories:
        return Finding("weights", name, "comes with the packages", True)
    for repository in repositories:
        if repository in sizes:
            return Finding("weights", name, f"{sizes[repository] / GIB:.1f} GiB of {repository}", True)
    return Finding("weights", name, f"not here: tadp fetch {name}", False)


def _tagger() -> Finding:
    from tadp_captioning.prompts.nouns import nltk_tagger

    try:
        nltk_tagger()
    except ValueError as error:
        return Finding("data", "NLTK's tagger", str(error), False)
    return Finding("data", "NLTK's tagger", "found", True)


def _network() -> Finding:
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return Finding("data", "network", "not used: HF_HUB_OFFLINE is set; unset it to fetch weights", True)
    return Finding("data", "network", f"weights come from {ENDPOINT}", True)
