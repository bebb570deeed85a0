"""Installed versions against what the packages ask for and against what was tested."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from tadp_cli.doctor.findings import Finding

TADP = ("tadp-backbone", "tadp-captioning", "tadp-personalize", "tadp-heads", "tadp-cli")
TESTED = {
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "diffusers": "0.42.1",
    "transformers": "5.23.0",
    "peft": "0.21.2",
    "accelerate": "1.15.0",
    "huggingface-hub": "2.4.0",
    "nltk": "3.10.4",
}
"""Those of constraints.txt: the versions that were tested together."""


def versions() -> Iterator[Finding]:
    """The packages of this project, which must be of one version, and the libraries that matter most."""
    own = {name: _version(name) for name in TADP}
    wanted = own["tadp-cli"]
    for name, found in own.items():
        if found is None:
            yield Finding("packages", name, f"not installed as a package: pip install {name}", False)
        elif wanted is not None and found != wanted:
            yield Finding("packages", name, f"{found}, with tadp-cli {wanted}: install all five together", False)
        else:
            yield Finding("packages", name, found, True)
    asked = asked_for()
    yield from (library(name, _version(name), asked.get(name, SpecifierSet())) for name in TESTED)


def library(name: str, found: str | None, asked: SpecifierSet) -> Finding:
    """One library: missing, outside what is asked for, or within it."""
    tested, command = TESTED[name], f'pip install "{name}{asked}"'
    if found is None:
        return Finding("libraries", name, f"not installed: {command}", False)
    supported = f"supported {asked}, " if str(asked) else ""
    if not asked.contains(found, prereleases=True):
        return Finding("libraries", name, f"{found}, but {supported}tested {tested}: {command}", False)
    newer = " (newer than tested)" if Version(found) > Version(tested) else ""
    return Finding("libraries", name, f"{found} ({supported}tested {tested}){newer}", True)


def asked_for() -> dict[str, SpecifierSet]:
    """{library: versions that all of the installed packages of this project take}."""
    asked: dict[str, SpecifierSet] = {}
    for package in TADP:
        if _version(package) is None:
            continue
        for text in requires(package) or ():
            need = Requirement(text)
            if need.marker is None or need.marker.evaluate():
                asked[need.name] = asked.get(need.name, SpecifierSet()) & need.specifier
    return asked


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
