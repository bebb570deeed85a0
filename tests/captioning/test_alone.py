"""The package in an environment that has its declared dependencies and nothing else."""

import os
import re
import subprocess
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image

PACKAGE = "tadp-captioning"


def needed(name: str, found: dict[str, Distribution]) -> dict[str, Distribution]:
    """The distribution, and all that it and they require here, by name."""
    for text in distribution(name).requires or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            dependency = distribution(requirement.name)
        except PackageNotFoundError:  # not for this platform's build
            continue
        if dependency.name not in found:
            found[dependency.name] = dependency
            needed(dependency.name, found)
    return found


@pytest.fixture(scope="module")
def bare(tmp_path_factory, repository) -> Path:
    """A folder of links to what pip would have installed for this package alone."""
    folder = tmp_path_factory.mktemp("bare")
    for dependency in needed(PACKAGE, {}).values():
        for file in dependency.files:
            top = file.parts[0]
            if top != ".." and not (folder / top).exists():
                (folder / top).symlink_to(Path(dependency.locate_file(top)).resolve())
    (folder / "tadp_captioning").symlink_to(repository / "packages" / "captioning" / "src" / "tadp_captioning")
    return folder


def run_bare(bare: Path, script: Path) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": str(bare), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-S", script.name]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=script.parent, timeout=300)


def test_the_readmes_example_runs_without_the_other_packages_and_what_they_need(bare, repository, tmp_path):
    """No torchvision, diffusers or sibling: with the captioner that the package ships."""
    (tmp_path / "photos").mkdir()
    for colour in ("red", "blue", "green"):
        Image.new("RGB", (64, 48), colour).save(tmp_path / "photos" / f"{colour}.png")
    readme = (repository / "packages" / "captioning" / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL).group(1)
    absent = ("torchvision", "diffusers", "peft", "accelerate", "tadp_cli", "tadp_heads", "tadp_backbone")
    check = f"import importlib.util as u\nassert not [n for n in {absent} if u.find_spec(n)]\n"
    (tmp_path / "example.py").write_text(check + example)
    result = run_bare(bare, tmp_path / "example.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("->") == 3
    assert result.stdout.count("a watercolor style painting") == 3
