"""Between TOML and frozen dataclasses: values are checked against declared types, and what is written reads back."""

import dataclasses
import json
import re
import tomllib
import typing
from typing import Any


def put(tree: dict, name: str, value: Any) -> None:
    """Set `section.key` in a tree."""
    *sections, key = name.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ValueError(f"setting {name!r}: {section!r} is no section")
    tree[key] = value


def parse(value: str) -> Any:
    """A TOML value; what is none is taken as a string, so that quotes may be left out."""
    try:
        return tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return value


def build(cls: type, tree: dict, where: str) -> Any:
    """An object of the dataclass, its sections dataclasses too; errors begin with `where` and name the setting."""
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(tree) - set(hints))
    if unknown:
        raise ValueError(f"{where}: unknown setting {unknown[0]!r}; choose from {', '.join(hints)}")
    values = {}
    for name, value in tree.items():
        expected = hints[name]
        if dataclasses.is_dataclass(expected):
            values[name] = build(expected, checked(value, dict, f"{where}: {name}"), f"{where}: {name}")
        else:
            values[name] = checked(value, expected, f"{where}: {name}")
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def checked(value: Any, expected: Any, where: str) -> Any:
    """The value, of the type that a setting is declared with; arrays become tuples."""
    kind, items = typing.get_origin(expected) or expected, typing.get_args(expected)
    if kind is float and type(value) is int:
        return float(value)
    if kind is tuple and isinstance(value, (list, tuple)):
        return tuple(checked(item, items[0], where) for item in value)
    if kind is dict and items and isinstance(value, dict) and items[1] is not Any:
        return {key: checked(item, items[1], f"{where}: {key}") for key, item in value.items()}
    if not isinstance(value, kind) or (kind in (int, float) and type(value) is bool):
        raise ValueError(f"{where} is {value!r}, expected {'an array' if kind is tuple else kind.__name__}")
    return value


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(choices)}")


def at_least(name: str, value: float, least: int) -> None:
    """Refuse what is below `least`."""
    if value < least:
        raise ValueError(f"{name} is {value}, expected at least {least}")


def toml(value: Any) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_key(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON strings are TOML strings
    return str(value)


def toml_key(key: str) -> str:
    """Bare where it may be, else quoted: metrics have names such as "mIoU (ms)"."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml(key)
