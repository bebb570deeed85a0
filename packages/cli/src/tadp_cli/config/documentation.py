"""What each setting of a recipe means, from the docstrings below its field: for config.toml and docs/configuration.md.

`python -m tadp_cli.config.documentation > docs/configuration.md` rewrites the page.
"""

import ast
import dataclasses
import functools
import inspect
import itertools
import re
import sys
import textwrap
import typing
from collections.abc import Iterator
from pkgutil import resolve_name
from typing import Any, NamedTuple

from tadp_cli.config.schema import toml

_WIDTH = 120
_CHOICES = re.compile(r"\b[A-Z][A-Z_]{3,}\b")
_HEAD = """# Settings of recipes

Every setting of a recipe's TOML file, of `--set SECTION.KEY=VALUE` and of the config.toml in a run, which holds them
all with these texts as comments. *Written from the code by `python -m tadp_cli.config.documentation`.*
"""


class Setting(NamedTuple):
    """One key of a recipe."""

    name: str
    """With its section, such as train.steps."""
    kind: str
    """Its type, and its default where there is one."""
    meaning: str
    """In one line."""


def comment_of(cls: type, field: str) -> str:
    """The meaning of a dataclass's field as comment lines of TOML, the last one ended."""
    lines = textwrap.wrap(meanings(cls)[field], _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines)


def settings_of(cls: type, section: str = "") -> Iterator[Setting]:
    """The settings of a dataclass and of the sections in it, in order."""
    hints, texts = typing.get_type_hints(cls), meanings(cls)
    for field in dataclasses.fields(cls):
        name, expected = f"{section}{field.name}", hints[field.name]
        if isinstance(expected, type) and dataclasses.is_dataclass(expected):
            yield Setting(name, "section", texts[field.name])
            yield from settings_of(expected, f"{name}.")
        else:
            yield Setting(name, _kind(expected, field), texts[field.name])


@functools.cache
def meanings(cls: type) -> dict[str, str]:
    """{field: its docstring in one line, names of choices replaced by the choices}; "" for a field without one."""
    body = [*ast.iter_child_nodes(ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0])]
    texts = {field.name: "" for field in dataclasses.fields(cls)}
    for statement, after in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
            texts[ast.unparse(statement.target)] = " ".join(ast.literal_eval(after.value).split())
    module = sys.modules[cls.__module__]
    return {name: _CHOICES.sub(lambda found: _choices(module, found[0]), text) for name, text in texts.items()}


def page(recipe: type) -> str:
    """docs/configuration.md, of the class of recipes."""
    lines, settings = [_HEAD, _TABLE], list(settings_of(recipe))
    top = [setting for setting in settings if "." not in setting.name and setting.kind != "section"]
    lines += map(_row, top)
    for section in (setting for setting in settings if setting.kind == "section"):
        inner = [setting for setting in settings if setting.name.startswith(f"{section.name}.")]
        lines += [f"\n## {section.name}\n", f"{section.meaning}\n", _TABLE, *map(_row, inner)]
    return "\n".join(lines) + "\n"


_TABLE = "| setting | type and default | meaning |\n|---|---|---|"


def _row(setting: Setting) -> str:
    cells = (f"`{setting.name}`", setting.kind, setting.meaning)
    return f"| {' | '.join(cell.replace('|', '&#124;').replace('<', '&lt;') for cell in cells)} |"


def _kind(expected: Any, field: dataclasses.Field) -> str:
    """Such as "int, 500"."""
    kinds = {tuple: "array", dict: "table", str: "text", bool: "true or false", int: "integer", float: "number"}
    kind = kinds[typing.get_origin(expected) or expected]
    if field.default is dataclasses.MISSING:
        return kind
    return f"{kind}, `{toml(field.default)}`" if field.default != "" else f"{kind}, empty"


def _choices(module: Any, name: str) -> str:
    """The strings of a tuple of this module, or the name."""
    values = getattr(module, name, None)
    if not isinstance(values, tuple) or not all(isinstance(value, str) for value in values):
        return name
    return ", ".join(value for value in values if value)


if __name__ == "__main__":
    sys.stdout.write(page(resolve_name("tadp_cli.config.recipe:Recipe")))
