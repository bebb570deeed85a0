"""What this machine and installation have of what the commands use."""

import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from tadp_backbone import BACKBONES
from tadp_captioning.table import CAPTIONERS
from tadp_cli.workflows.fetching import cached_bytes, homes

_GIB = 2**30
_TADP = ("tadp-backbone", "tadp-captioning", "tadp-personalize", "tadp-heads", "tadp-cli")
_LIBRARIES = ("torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "huggingface-hub", "nltk")


class Finding(NamedTuple):
    topic: str
    """Heading under which it stands."""
    name: str
    found: str
    fine: bool
    """False: a command will miss it; `found` says what to do."""


def examine() -> Iterator[Finding]:
    """All findings; opens no connection."""
    yield Finding("machine", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", True)
    yield from _devices()
    yield from _memory_and_disk()
    yield from (_installed(name) for name in (*_TADP, *_LIBRARIES))
    sizes = cached_bytes()
    yield from (_weights(name, sizes) for name in dict.fromkeys((*BACKBONES, *CAPTIONERS)))
    yield _tagger()
    yield _network()


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("machine", "cpu", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads", True)
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        half = "bf16" if properties.major >= 8 else "fp16"
        found = f"{properties.name}, {properties.total_memory / _GIB:.0f} GiB, use {half}"
        yield Finding("machine", f"cuda:{index}", found, True)
    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        yield Finding("machine", "cuda", f"no device ({built}); the miniature runs on the cpu", True)


def _memory_and_disk() -> Iterator[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE

    if hasattr(os, "sysconf"):
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        yield Finding("machine", "memory", f"{total / _GIB:.0f} GiB", True)
    for name, folder in (("disk here", Path.cwd()), ("disk of the hub's cache", Path(HF_HUB_CACHE))):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        yield Finding("machine", name, f"{shutil.disk_usage(there).free / _GIB:.0f} GiB free ({folder})", True)


def _installed(name: str) -> Finding:
    topic = "packages" if name in _TADP else "libraries"
    try:
        return Finding(topic, name, version(name), True)
    except PackageNotFoundError:
        return Finding(topic, name, f"not installed as a package: pip install {name}", False)


def _weights(name: str, sizes: dict[str, int]) -> Finding:
    repositories = homes(name)
    if not repositories:
        return Finding("weights", name, "comes with the packages", True)
    for repository in repositories:
        if repository in sizes:
            return Finding("weights", name, f"{sizes[repository] / _GIB:.1f} GiB of {repository}", True)
    return Finding("weights", name, f"not here: tadp fetch {name}", False)


def _tagger() -> Finding:
    from tadp_captioning.nouns import nltk_tagger

    try:
        nltk_tagger()
    except ValueError as error:
        return Finding("data", "NLTK's tagger", str(error), False)
    return Finding("data", "NLTK's tagger", "found", True)


def _network() -> Finding:
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    found = "not used: HF_HUB_OFFLINE is set" if HF_HUB_OFFLINE else f"weights come from {ENDPOINT}"
    return Finding("data", "network", found, True)
