"""One version for all, exact sibling pins, tested versions that fit what is asked for, entry points that load."""

import re
import tomllib
from importlib.metadata import entry_points

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGES = ("backbone", "captioning", "cli", "heads", "personalize")
FOUR = {"tadp-backbone", "tadp-captioning", "tadp-heads", "tadp-personalize"}


@pytest.fixture(scope="module")
def projects(repository):
    files = {path.parent.name: path for path in repository.glob("packages/*/pyproject.toml")}
    return {name: tomllib.loads(path.read_text())["project"] for name, path in files.items()}


@pytest.fixture(scope="module")
def pins(repository):
    lines = (repository / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): str(r.specifier) for r in requirements}


def requirements_of(project):
    return [Requirement(text) for text in project["dependencies"]]


def extras_of(project):
    return [Requirement(text) for texts in project.get("optional-dependencies", {}).values() for text in texts]


def test_the_packages_are_the_five_with_one_version(projects):
    assert sorted(projects) == sorted(PACKAGES)
    assert {project["name"] for project in projects.values()} == {f"tadp-{name}" for name in PACKAGES}
    assert len({project["version"] for project in projects.values()}) == 1
    assert {(p["requires-python"], p["license"]) for p in projects.values()} == {(">=3.11", "Apache-2.0")}


def test_the_citation_has_the_packages_version(repository, projects):
    cited = re.search(r"^version: (.+)$", (repository / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited.group(1) == projects["cli"]["version"]


def test_every_package_has_the_licence(repository):
    """Wheels carry that of their own folder."""
    text = (repository / "LICENSE").read_bytes()
    assert [file.read_bytes() == text for file in repository.glob("packages/*/LICENSE")] == [True] * 5


def test_only_cli_depends_on_siblings_and_pins_them_exactly(projects):
    siblings = {
        name: {r.name: str(r.specifier) for r in requirements_of(project) if r.name.startswith("tadp")}
        for name, project in projects.items()
    }
    version = projects["cli"]["version"]
    assert siblings.pop("cli") == dict.fromkeys(FOUR, f"=={version}")
    assert not any(siblings.values()), siblings


def test_every_dependency_is_pinned_to_a_version_that_it_allows(repository, projects, pins):
    tools = tomllib.loads((repository / "pyproject.toml").read_text())["dependency-groups"]["dev"]
    packages = [r for project in projects.values() for r in (*requirements_of(project), *extras_of(project))]
    for requirement in [r for r in (*packages, *map(Requirement, tools)) if r.name not in FOUR]:
        pin = pins.get(canonicalize_name(requirement.name), "")
        assert re.fullmatch(r"==[\d.]+", pin), f"{requirement} has no exact version in constraints.txt"
        assert requirement.specifier.contains(pin.removeprefix("==")), f"{requirement}, but {pin}"


def test_no_package_lists_a_dependency_twice(projects):
    for name, project in projects.items():
        listed = [canonicalize_name(r.name) for r in requirements_of(project)]
        assert sorted(listed) == sorted(set(listed)), name


def test_torch_is_one_range_everywhere(projects):
    ranges = {str(r.specifier) for p in projects.values() for r in requirements_of(p) if r.name == "torch"}
    assert len(ranges) == 1
    (torch,) = (Requirement(f"torch{r}").specifier for r in ranges)
    assert torch.contains("2.11.0")
    assert not torch.contains("2.10.1")
    assert not torch.contains("2.13.0")


@pytest.mark.parametrize("package", PACKAGES)
def test_a_wheel_would_hold_every_file_of_the_package(repository, package):
    """Weights and recipes are package data; an ignore rule must not drop one silently."""
    root = repository / "packages" / package
    included = {file.distribution_path for file in WheelBuilder(str(root)).recurse_included_files()}
    files = [path for path in (root / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert {path.relative_to(root / "src").as_posix() for path in files} <= included


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_of_users_read_the_annotations(repository, package):
    assert (repository / "packages" / package / "src" / f"tadp_{package}" / "py.typed").is_file()


def test_no_addresses_in_what_pip_reads(repository):
    names = ("constraints.txt", "pyproject.toml", "packages/*/pyproject.toml")
    files = [path for name in names for path in repository.glob(name)]
    assert len(files) == 7
    assert [path for path in files if re.search(r"https?://|file:|index-url|find-links| @ ", path.read_text())] == []


@pytest.mark.parametrize(
    ("group", "name", "target"),
    [
        ("console_scripts", "tadp", "tadp_cli.main:main"),
        ("tadp.backbones", "diffusion", "tadp_backbone:DiffusionBackbone"),
        ("tadp.captioners", "default", "tadp_captioning:load_captioner"),
    ],
)
def test_entry_points_load(group, name, target):
    (entry,) = entry_points(group=group, name=name)
    assert entry.value == target
    assert callable(entry.load())
