"""Between TOML and frozen dataclasses: values are checked against declared types, and what is written reads back."""

import dataclasses
import json
import re
import tomllib
import typing
from typing import Any

from tadp_heads.schema import SettingError, checked


def put(tree: dict, name: str, value: Any) -> dict:
    """Set `section.key` in a tree; returns it."""
    keys, inner = tuple(name.split(".")), tree
    for section in keys[:-1]:
        inner = inner.setdefault(section, {})
        if not isinstance(inner, dict):
            raise SettingError(f"setting {name!r}: {section!r} is no section", keys)
    inner[keys[-1]] = value
    return tree


def parse(value: str) -> Any:
    """A TOML value; what is none is taken as a string, so that quotes may be left out."""
    try:
        return tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return value


def build(cls: type, tree: dict, above: tuple[str, ...] = ()) -> Any:
    """An object of the dataclass, its sections dataclasses too; `above`: keys that lead to the tree."""
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(tree) - set(hints))
    if unknown:
        keys = (*above, unknown[0])
        raise SettingError(f"unknown setting {'.'.join(keys)!r}; choose from {', '.join(hints)}", keys)
    values = {}
    for name, value in tree.items():
        keys, expected = (*above, name), hints[name]
        if isinstance(expected, type) and dataclasses.is_dataclass(expected):
            values[name] = build(expected, checked(value, dict, keys), keys)
        else:
            values[name] = checked(value, expected, keys)
    try:
        return cls(**values)
    except ValueError as error:
        raise SettingError(str(error), *_named(str(error), tree)) from error


def _named(message: str, tree: dict) -> list[tuple[str, ...]]:
    """Keys of the settings that a check speaks of: it calls them by their dotted names, or those of no section."""
    names = (tuple(name.split(".")) for name in re.findall(r"[a-z_]+(?:\.[a-z_]+)*", message))
    return [keys for keys in names if len(keys) > 1 or not isinstance(tree.get(keys[0]), (dict, type(None)))]


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
