"""Values of JSON against the types that a dataclass declares."""

import math
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def check_fields(cls: type, values: dict[str, Any], source: object) -> None:
    """Refuse what is no field of `cls`, or of another type than declared."""
    hints = get_type_hints(cls)
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"{source} has {name!r}, which {cls.__name__} has not: expected {', '.join(hints)}")
        if not _fits(value, hints[name]):
            raise ValueError(f"{source}: {name} is {str(value)[:80]!r}, expected {_type_name(hints[name])}")


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value of JSON, which has lists in place of tuples and no NaN, is of the type."""
    origin, items = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, item) for item in items)
    if origin is Literal:
        return value in items
    if origin is tuple:
        kinds = items[:1] * len(value) if isinstance(value, list | tuple) and items[-1] is ... else items
        return isinstance(value, list | tuple) and len(kinds) == len(value) and all(map(_fits, value, kinds))
    if kind is float:
        return type(value) in (int, float) and math.isfinite(value)
    return type(value) is kind
