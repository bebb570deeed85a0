"""Values of JSON against the types that a dataclass declares."""

import math
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def told(kind: Any) -> str:
    """A type in words."""
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")


LARGEST_SIZE = 2**16
"""Of a layer or a count in the config of a head."""


def check_config(config: Any) -> None:
    """Refuse values of other types than a head's config declares, and sizes that no memory holds."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not fits(value, kind):
            raise ValueError(f"{name} is {str(value)[:80]}, expected {told(kind)}")
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
