"""The layout of the packages: no cycle of modules, no crowded folder, and a command line that stays thin."""

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

LARGEST_FOLDER = 20
"""Modules of one folder, its __init__.py not counted."""
MANY_FILES = {"tadp_cli/commands"}
"""Folders that may have more: one file per command."""
CLI_SHARE = 0.38
"""Of the lines of code of the five packages; app/ and serve/ are not counted."""


class Source(NamedTuple):
    path: Path
    """Relative to the package's src folder."""
    text: str

    @property
    def module(self) -> str:
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture(scope="module")
def sources(repository) -> list[Source]:
    folders = sorted((repository / "packages").glob("*/src"))
    return [
        Source(path.relative_to(folder), path.read_text(encoding="utf-8"))
        for folder in folders
        for path in sorted(folder.rglob("*.py"))
    ]


def imports(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Absolute names of all that is imported, in functions too, except for type checkers alone.

    `package`: what relative imports start from.
    """
    remaining = [node]
    while remaining:
        node = remaining.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.expr):  # no import is below an expression
            remaining.extend(ast.iter_child_nodes(node))


def import_graph(sources: list[Source]) -> dict[str, set[str]]:
    """{module: modules of ours that it imports}; an imported name counts for the module that has it."""
    known = {source.module for source in sources}
    graph = {}
    for source in sources:
        names = set(imports(ast.parse(source.text), list(source.path.parent.parts)))
        found = {name if name in known else name.rpartition(".")[0] for name in names}
        graph[source.module] = found & known - {source.module}
    return graph


def cycle_of(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other_in_a_circle(sources):
    assert cycle_of(import_graph(sources)) == []


def test_a_circle_is_seen_through_functions_and_relative_imports():
    first = Source(Path("a/first.py"), "def f():\n    from .deep import second")
    second = Source(Path("a/deep/second.py"), "from ..first import f")
    typed = Source(Path("a/deep/second.py"), "if TYPE_CHECKING:\n    from a.first import f")
    assert cycle_of(import_graph([first, second])) == ["a.first", "a.deep.second", "a.first"]
    assert cycle_of(import_graph([first, typed])) == []


def test_folders_are_small(sources):
    modules = [source.path for source in sources if source.path.name != "__init__.py"]
    sizes = Counter(path.parent.as_posix() for path in modules)
    assert {folder: n for folder, n in sizes.items() if n > LARGEST_FOLDER and folder not in MANY_FILES} == {}


def test_the_command_line_is_a_limited_share_of_the_code(sources):
    lines = Counter()
    for source in sources:
        if not {"app", "serve"} & set(source.path.parts[1:2]):
            code = [line for line in source.text.splitlines() if line.strip() and not line.strip().startswith("#")]
            lines[source.path.parts[0]] += len(code)
    share = lines["tadp_cli"] / lines.total()
    assert share <= CLI_SHARE, f"{share:.1%} of {lines.total()} lines: {dict(lines)}"
