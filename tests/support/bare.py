"""An environment that has the declared dependencies of one package and nothing else."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def bare_environment(folder: Path, sources: Path, name: str, *extras: str) -> Path:
    """`folder`, filled with links to what pip would have installed for this package of `sources` alone."""
    project = tomllib.loads((sources / name / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(text for e in extras for text in project["optional-dependencies"][e])]
    for dependency in _needed(asked, {}).values():
        for file in dependency.files:
            top = file.parts[0]
            if top != ".." and not (folder / top).exists():
                (folder / top).symlink_to(Path(dependency.locate_file(top)).resolve())
    (folder / f"tadp_{name}").symlink_to(sources / name / "src" / f"tadp_{name}")
    return folder


def run_bare(bare: Path, script: Path) -> subprocess.CompletedProcess:
    """A script with that environment alone, in the script's folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(bare), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", script.name]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=script.parent, timeout=300)


def _needed(requirements: Iterable[str], found: dict[str, Distribution]) -> dict[str, Distribution]:
    """The distributions of these requirements and all that they require here, by name."""
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            dependency = distribution(requirement.name)
        except PackageNotFoundError:  # not for this platform's build
            continue
        if dependency.name not in found:
            found[dependency.name] = dependency
            _needed(dependency.requires or (), found)
    return found
