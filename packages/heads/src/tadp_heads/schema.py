"""Values of JSON and TOML against the types and ranges that a dataclass declares."""

import math
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LARGEST_SIZE = 2**16
"""Of a layer or a count in the config of a head."""
MOST_HELD = 10**5
"""Of what is held in memory at once, such as the images of a batch."""
MOST_FACTOR = 1e4
"""Of a weight or an exponent: beyond it nothing else counts."""
MOST_RATE = 100.0
"""Of learning."""


def type_name(kind: Any) -> str:
    """A type's name for messages."""
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")


def check_config(config: Any) -> None:
    """Refuse values of other types than a head's config declares, and sizes that no memory holds."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not fits(value, kind):
            raise ValueError(f"{name} is {str(value)[:80]}, expected {type_name(kind)}")
        if type(value) is int and value > LARGEST_SIZE:
            raise ValueError(f"{name} is {value}, expected at most {LARGEST_SIZE}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value of JSON, which has lists in place of tuples, is of the type; NaN and infinity are no floats."""
    origin, items = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(value, item) for item in items)
    if origin is Literal:
        return value in items
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, items[1]) for item in value.values())
    if origin in (tuple, list):
        listed = isinstance(value, list | tuple)
        kinds = items[:1] * len(value) if listed and (origin is list or items[-1] is ...) else items
        return listed and len(kinds) == len(value) and all(map(fits, value, kinds))
    if isinstance(kind, type) and issubclass(kind, tuple):  # of named fields
        kinds = tuple(get_type_hints(kind).values())
        return isinstance(value, list | tuple) and len(kinds) == len(value) and all(map(fits, value, kinds))
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind


class SettingError(ValueError):
    """An invalid setting, with the keys that lead to it, so that the reader of a file can name its place."""

    def __init__(self, message: str, *settings: tuple[str, ...]):
        super().__init__(message)
        self.settings = settings
        """Path of keys to each one."""


def checked(value: Any, expected: Any, keys: tuple[str, ...]) -> Any:
    """The value, of the type that a setting is declared with; arrays become tuples."""
    if expected is Any:
        return _checked_any(value, keys)
    kind, items = get_origin(expected) or expected, get_args(expected)
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
    """The value unchanged, every number in it within the range of its type."""
    if isinstance(value, dict):
        return {key: _checked_any(item, (*keys, key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_checked_any(item, keys) for item in value)
    return checked(value, type(value), keys) if type(value) in (int, float) else value


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of the choices."""
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(choices)}")


def at_least(name: str, value: float, least: float, most: float = 10**8) -> None:
    """Refuse what is below `least`, and what is above `most`, which no training would ever come to the end of."""
    if not value >= least:
        raise ValueError(f"{name} is {value}, expected at least {least}")
    if value > most:
        raise ValueError(f"{name} is {value}, expected at most {most}")


def above_0(name: str, value: float, most: float) -> None:
    """Refuse what is not above 0, and what is above `most`."""
    if not 0 < value <= most:
        raise ValueError(f"{name} is {value}, expected above 0 and at most {most:g}")
