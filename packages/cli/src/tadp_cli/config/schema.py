"""Between TOML and frozen dataclasses: values are checked against declared types, and what is written reads back."""

import dataclasses
import json
import re
import tomllib
import typing
from typing import Any

MOST_HELD = 10**5
"""Of what is held in memory at once, such as the images of a batch."""


MOST_FACTOR = 1e4
"""Of a weight or an exponent: beyond it nothing else counts."""
MOST_RATE = 100.0
"""Of learning."""


class SettingError(ValueError):
    """Says what is wrong, and with which settings, so that whoever read them can tell where they stand."""

    def __init__(self, message: str, *settings: tuple[str, ...]):
        super().__init__(message)
        self.settings = settings
        """The keys that lead to each."""


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
        if dataclasses.is_dataclass(expected):
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


def checked(value: Any, expected: Any, keys: tuple[str, ...]) -> Any:
    """The value, of the type that a setting is declared with; arrays become tuples."""
    if expected is Any:
        return _checked_any(value, keys)
    kind, items = typing.get_origin(expected) or expected, typing.get_args(expected)
    if kind is float and type(value) in (int, float):
        if not abs(value) < 1e100:  # also NaN, and integers beyond the range of a float
            raise SettingError(f"{'.'.join(keys)} is {value}, expected a finite number", keys)
        return float(value)
    if kind is tuple and isinstance(value, (list, tuple)):
        return tuple(checked(item, items[0], keys) for item in value)
    if kind is dict and items and isinstance(value, dict):
        return {key: checked(item, items[1], (*keys, key)) for key, item in value.items()}
    if not isinstance(value, kind) or (kind in (int, float) and type(value) is bool):
        wanted = {tuple: "an array", dict: "a table"}.get(kind, kind.__name__)
        raise SettingError(f"{'.'.join(keys)} is {value!r}, expected {wanted}", keys)
    if kind is int and abs(value) >= 2**63:  # the largest that torch takes, seeds included
        raise SettingError(f"{'.'.join(keys)} is {value}, expected an integer of 64 bits", keys)
    return value


def _checked_any(value: Any, keys: tuple[str, ...]) -> Any:
    """The value as it is, every number in it within the range of its type."""
    if isinstance(value, dict):
        return {key: _checked_any(item, (*keys, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_checked_any(item, keys) for item in value)
    return checked(value, type(value), keys) if type(value) in (int, float) else value


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(choices)}")


def at_least(name: str, value: float, least: int, most: int = 10**8) -> None:
    """Refuse what is below `least`, and what is above `most`, which no training would ever come to the end of."""
    if not value >= least:
        raise ValueError(f"{name} is {value}, expected at least {least}")
    if value > most:
        raise ValueError(f"{name} is {value}, expected at most {most}")


def above_0(name: str, value: float, most: float) -> None:
    """Refuse what is not above 0, and what is above `most`."""
    if not 0 < value <= most:
        raise ValueError(f"{name} is {value}, expected above 0 and at most {most:g}")


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
