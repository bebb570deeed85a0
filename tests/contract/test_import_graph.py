"""Imports point one way, and what a package imports it also declares."""

import ast
import functools
import itertools
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import NamedTuple

import pytest

SIBLINGS = {
    "captioning": set(),
    "backbone": set(),
    "personalize": set(),
    "heads": set(),
    "cli": {"tadp_captioning", "tadp_backbone", "tadp_personalize", "tadp_heads"},
}
"""The packages that each one may import, in addition to itself."""
TRACKERS = {"trackio"}
"""Imported only where a user named it in `log_with` and accelerate has it already: its user installs it."""


class Module(NamedTuple):
    has_docstring: bool
    imports: list[ast.stmt | ast.expr]
    """Statements, and calls of import_module, anywhere in the module."""


@functools.cache
def modules_of(repository: Path, package: str) -> dict[Path, Module]:
    """All modules of a package; keys relative to the repository."""
    files = sorted((repository / "packages" / package / "src").rglob("*.py"))
    return {path.relative_to(repository): module_of(path.read_text(encoding="utf-8")) for path in files}


def module_of(source: str) -> Module:
    tree = ast.parse(source)
    return Module(ast.get_docstring(tree) is not None, [node for node in ast.walk(tree) if imports(node)])


def imports(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return "import_module" in (getattr(node.func, "attr", ""), getattr(node.func, "id", ""))
    return isinstance(node, ast.Import | ast.ImportFrom)


def imported_names(module: Module) -> Iterator[str]:
    """Top-level names of everything imported anywhere in a module, also inside functions and by importlib."""
    for node in module.imports:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Call):
            yield from (
                argument.value.split(".")[0] for argument in node.args[:1] if isinstance(argument, ast.Constant)
            )
        elif node.level == 0:
            yield node.module.split(".")[0]


@functools.cache
def distributions_of_modules() -> Mapping[str, list[str]]:
    return packages_distributions()


def normalised(name: str) -> str:
    """A distribution's name as the registry compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("package", SIBLINGS)
def test_only_allowed_siblings_are_imported(repository, package):
    allowed = SIBLINGS[package] | {f"tadp_{package}"}
    found = {
        (str(path), name)
        for path, module in modules_of(repository, package).items()
        for name in imported_names(module)
        if name.startswith("tadp_") and name not in allowed
    }
    assert found == set()


@pytest.mark.parametrize("package", SIBLINGS)
def test_of_siblings_only_public_names_are_imported(repository, package):
    private = {
        (str(path), f"{node.module}.{alias.name}")
        for path, module in modules_of(repository, package).items()
        for node in module.imports
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in SIBLINGS[package]
        for alias in node.names
        if any(part.startswith("_") for part in (*node.module.split("."), alias.name))
    }
    assert private == set()


@pytest.mark.parametrize("package", SIBLINGS)
def test_what_is_imported_is_declared(repository, package):
    """A package installed alone must not fail on an import that a sibling's dependency happened to satisfy."""
    project = tomllib.loads((repository / "packages" / package / "pyproject.toml").read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    requirements = [*project["dependencies"], *itertools.chain(*extras)]
    declared = {normalised(re.match(r"[\w.-]+", requirement).group()) for requirement in requirements}
    distributions = distributions_of_modules()
    missing = {
        (str(path), name)
        for path, module in modules_of(repository, package).items()
        for name in imported_names(module)
        if name not in sys.stdlib_module_names | TRACKERS and name != f"tadp_{package}"
        if not declared & {normalised(distribution) for distribution in distributions.get(name, [name])}
    }
    assert missing == set()


@pytest.mark.parametrize("package", SIBLINGS)
def test_modules_say_what_they_are_and_import_no_stars(repository, package):
    modules = modules_of(repository, package)
    assert modules, f"no modules in packages/{package}/src"
    public = {path: module for path, module in modules.items() if path.name == "__init__.py" or path.name[0] != "_"}
    silent = [str(path) for path, module in public.items() if not module.has_docstring]
    stars = [
        str(path)
        for path, module in modules.items()
        for node in module.imports
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
    ]
    assert silent == []
    assert stars == []


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a.b as c, d", {"a", "d"}),
        ("from a.b import c\nfrom . import e", {"a"}),
        ("def f():\n    from tadp_heads.data import scenes", {"tadp_heads"}),
        ("import importlib\nimportlib.import_module('tadp_heads.data')", {"importlib", "tadp_heads"}),
    ],
)
def test_the_reader_sees_every_form_of_import(source, names):
    assert set(imported_names(module_of(source))) == names
