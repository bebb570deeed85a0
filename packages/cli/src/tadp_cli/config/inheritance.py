"""Sources of a recipe's settings: its file, the files that it is based on, and the command line."""

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tadp_captioning.text_files import read_text
from tadp_cli.config.paper_tables import row_tree, table_names
from tadp_cli.config.schema import put
from tadp_cli.console.home import tree_with_home
from tadp_heads.format_version import check_format

FORMAT = 1
"""Of the TOML files of recipes and runs."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Settings from one source."""

    name: str
    """What errors call it."""
    tree: dict[str, Any]
    text: str = ""
    """The TOML that the tree was read from, where there is one."""
    folder: Path = Path()
    """Where a base may lie."""

    def place(self, keys: Sequence[str]) -> str:
        """What errors call the place of a setting: the source, and the line where it can be found."""
        line = line_of(self.text, keys)
        return self.name if line is None else f"{self.name}, line {line}"


def line_of(text: str, keys: Sequence[str]) -> int | None:
    """The line of TOML, counted from 1, in which the setting at the end of these keys begins; None: it isn't there.

    However a key is written (below a table, dotted, in an inline table, quoted), it is first there when the text is
    read as far as to the end of its statement.
    """
    lines, begin = text.split("\n"), 1
    for end in range(1, len(lines) + 1):
        try:
            tree = tomllib.loads("\n".join(lines[:end]))
        except tomllib.TOMLDecodeError:
            continue  # a statement of several lines
        if _holds(tree, keys):
            return begin
        begin = end + 1
    return None


def place_of(sources: Sequence[Source], settings: Iterable[Sequence[str]]) -> str:
    """Place of each setting in the last source that has it; empty: none."""
    holders = ((keys, [source for source in sources if _holds(source.tree, keys)]) for keys in settings)
    places = dict.fromkeys(found[-1].place(keys) for keys, found in holders if found)
    return " and ".join(places)


def merged(sources: Iterable[Source]) -> dict[str, Any]:
    """The settings of files, each on top of those before it."""
    tree: dict[str, Any] = {}
    for source in sources:
        tree.pop("target", None)  # what the paper got with the base's settings says nothing about others
        if _names_head(source.tree.get("head")):
            tree.pop("head", None)
        tree = _merged(tree, {key: value for key, value in source.tree.items() if key != "base"})
    return tree


def with_settings(tree: dict[str, Any], settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The tree with settings put in by their dotted names."""
    settings = list(settings)
    if any(name == "head.name" for name, _ in settings):
        tree = {key: value for key, value in tree.items() if key != "head"}
    for name, value in settings:
        put(tree, name, value)
    return tree


def _names_head(head: Any) -> bool:
    """Whether a head is chosen here: settings of another one, which it need not have, are then dropped."""
    return isinstance(head, dict) and "name" in head


def read_sources(name: str, folder: Path = Path(), heirs: tuple[Source, ...] = ()) -> tuple[Source, ...]:
    """A recipe's file behind those of its `base`; `folder`: folder of the recipe that names it."""
    source = _read(name, folder, heirs)
    above = [heir.name for heir in heirs]
    if source.name in above:
        raise ValueError(f"{' -> '.join((*above, source.name))}: a recipe cannot be its own base; correct `base`")
    if "base" not in source.tree:
        return (source,)
    base = source.tree["base"]
    if not isinstance(base, str):
        raise ValueError(f"{source.place(('base',))}: base is {base!r}, expected the name of a recipe, or a TOML file")
    return (*read_sources(base, source.folder, (*heirs, source)), source)


def shipped_recipes() -> dict[str, Any]:
    """{name: file} of the recipes inside the package."""
    folder = files("tadp_cli.recipes")
    return {f.name.removesuffix(".toml"): f for f in sorted(folder.iterdir(), key=str) if f.name.endswith(".toml")}


def _read(name: str, folder: Path, heirs: tuple[Source, ...]) -> Source:
    shipped, path = shipped_recipes(), folder / name
    if (tree := row_tree(name)) is not None:
        return Source(name=f"recipe {name}", tree=tree, folder=folder)
    if name in shipped:
        text, where = shipped[name].read_text(encoding="utf-8"), f"recipe {name}"
    elif path.is_file():
        text, where = read_text(path), str(path)
    else:
        asked = f"{heirs[-1].place(('base',))}: " if heirs else ""
        known = ", ".join((*shipped, *(f"{table}/..." for table in table_names())))
        expected = f"expected a TOML file or one of {known}; `tadp recipes` lists all"
        raise ValueError(f"{asked}unknown recipe {name!r}: {expected}")
    try:
        tree = tree_with_home(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: {error}; correct the TOML") from error
    check_format(tree.pop("format", None), FORMAT, where)
    return Source(name=where, tree=tree, text=text, folder=path.parent)


def _merged(base: dict, changes: dict) -> dict:
    """The base's tree with the changes put in, section by section."""
    tree = dict(base)
    for key, value in changes.items():
        inner = tree.get(key)
        tree[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return tree


def _holds(tree: Any, keys: Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True
