"""Heads of the user's own: they record the arguments of their constructor, from which a saved one is rebuilt, and as
`input_levels` the feature levels that they read."""

import functools
import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tadp_heads.levels import as_levels

_RECORD = "_registered_settings"


def recording(cls: type[Any], arguments: Sequence[str]) -> type[Any]:
    """The class, whose constructor from now on records its arguments; `arguments`: those that a task gives, in order.

    Raise ValueError where the constructor takes others first, or arguments without a name.
    """
    original, signature = cls.__init__, inspect.signature(cls.__init__)
    _check(cls, signature, arguments)

    @functools.wraps(original)
    def construct(self: Any, *args: Any, **settings: Any) -> None:
        try:
            bound = signature.bind(self, *args, **settings)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}: {error}") from None
        bound.apply_defaults()
        bound.arguments["levels"] = as_levels(bound.arguments["levels"])
        given = _settings(cls, bound)
        original(*bound.args, **bound.kwargs)
        if type(self) is cls:  # else a subclass records its own arguments
            setattr(self, _RECORD, given)
            self.input_levels = bound.arguments["levels"]

    cls.__init__ = construct
    return cls


def is_recorded(cls: Any) -> bool:
    """Whether the constructor of a head's class records its arguments."""
    return getattr(cls.__init__, "__wrapped__", None) is not None


def settings_of(head: Any) -> dict[str, Any] | None:
    """Arguments by name, values of JSON, with which a registered head was built; None for a built-in head."""
    return getattr(head, _RECORD, None)


def rebuilt(cls: type, settings: Mapping[str, Any], path: Path) -> Any:
    """A head with fresh weights from the settings that `path` records; raise DataError where they are not its own."""
    from tadp_heads.data.errors import DataError  # its package imports torch

    try:
        return cls(**settings)
    except (TypeError, ValueError) as error:
        raise DataError(
            path,
            found=f"settings {sorted(settings)} of a head that {cls.__name__} refuses ({error})",
            expected=f"those of {cls.__name__}",
            fix="use the code with which the head was trained",
        ) from error


def _check(cls: type, signature: inspect.Signature, arguments: Sequence[str]) -> None:
    parameters = list(signature.parameters.values())[1:]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL)
    unnamed = any(parameter.kind in kinds for parameter in parameters)
    names = [parameter.name for parameter in parameters]
    if unnamed or names[: len(arguments)] != list(arguments) or "name" in names:
        expected = ", ".join(("self", *arguments))
        raise ValueError(
            f"{cls.__name__}.__init__{signature}: expected __init__({expected}, ...), further arguments by name and "
            "none called 'name'"
        )


def _settings(cls: type, bound: inspect.BoundArguments) -> dict[str, Any]:
    _, *names = bound.signature.parameters
    further = [name for name in names if bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD]
    given: Mapping[str, Any] = {name: bound.arguments[name] for name in names if name not in further}
    given = {**given, **{key: value for name in further for key, value in bound.arguments[name].items()}}
    for name, value in given.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(
                f"{cls.__name__}: {name} is {str(value)[:80]}, from which a saved head cannot be rebuilt; expected "
                "numbers, texts, booleans, or lists and tables of them"
            ) from None
    return json.loads(json.dumps(given))
