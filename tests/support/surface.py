"""What users type and read, as lines "name  description", compared with the files in tests/contract/surface.

A name in those files never disappears: a renamed option keeps its old name as a hidden alias, a removed setting is
listed among the removed ones. Anything else is changed together with its file, which a test writes anew under
TADP_UPDATE_SURFACE=1.
"""

import dataclasses
import inspect
import json
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
import typer
from safetensors import safe_open

FOLDER = Path(__file__).parents[1] / "contract" / "surface"
_UPDATE = "TADP_UPDATE_SURFACE"
_ABSENT = (None, inspect.Parameter.empty, dataclasses.MISSING)


def assert_frozen(name: str, now: Mapping[str, str]) -> None:
    """Raise unless surface/NAME.txt has these {name: description}; under TADP_UPDATE_SURFACE=1 write them there."""
    file = FOLDER / f"{name}.txt"
    before = _read(file)
    gone = [key for key in before if key not in now]
    assert not gone, f"gone, though users rely on it (keep it, a renamed option as a hidden alias): {', '.join(gone)}"
    if os.environ.get(_UPDATE) == "1":
        _write(file, now)
    other = [
        f"{key}: was {before.get(key, 'not there')!r}, is {now[key]!r}" for key in now if now[key] != before.get(key)
    ]
    again = f"if it is meant, run this test with {_UPDATE}=1 and commit {file.relative_to(FOLDER.parents[2])}"
    assert other == [] or os.environ.get(_UPDATE) == "1", "\n".join([*other, again])


def command_lines(app: typer.Typer) -> dict[str, str]:
    """Each command, and each name of its options and each argument by its place, with type, default and "required"."""
    return dict(_command_lines("tadp", typer.main.get_command(app)))


def setting_lines(cls: type, prefix: str = "") -> dict[str, str]:
    """{dotted name: type and default} of the fields of a dataclass, and of those in it."""
    lines, hints = {}, typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        expected, name = hints[field.name], f"{prefix}{field.name}"
        nested = next((part for part in (expected, *typing.get_args(expected)) if dataclasses.is_dataclass(part)), None)
        if nested is not None:
            lines |= setting_lines(nested, f"{name}.")
        else:
            lines[name] = _described(expected, field.default)
    return lines


def key_lines(folder: Path, *patterns: str, maps: tuple[str, ...] = ()) -> dict[str, str]:
    """{"FILE KEY": type} of the keys in the files of a folder that match the patterns, nested ones as "a.b[].c".

    `maps` are glob patterns of places whose keys are data, such as "*/personalization.json captions": they count as
    "*". What torch's optimizers keep is torch's own, and the settings of a recipe are in settings.txt.
    """
    lines: dict[str, str] = {}
    for path in sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}):
        name = path.relative_to(folder).as_posix()
        for key, kind in _keys(_content(path), f"{name} ", maps):
            known = lines.get(key.strip(), kind).split(" or ")
            lines[key.strip()] = " or ".join(sorted({*known, kind}, key=lambda word: (word == "null", word)))
    return lines


def _command_lines(path: str, command: Any) -> Iterator[tuple[str, str]]:
    hidden = ", hidden" if command.hidden else ""
    yield path, f"{'group' if hasattr(command, 'commands') else 'command'}{hidden}"
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _command_lines(f"{path} {name}", inner)
    if command.callback is None:
        return
    hints = typing.get_type_hints(command.callback, include_extras=True)
    defaults = inspect.signature(command.callback).parameters
    place = 0
    for parameter in command.params:
        if parameter.name not in hints:
            continue  # typer's own, for shell completion
        described = _described(hints[parameter.name], defaults[parameter.name].default)
        description = ", ".join(
            (described, *(word for word in ("required", "hidden") if getattr(parameter, word, False)))
        )
        options = [name for name in (*parameter.opts, *parameter.secondary_opts) if name.startswith("-")]
        if not options:
            place += 1
        for name in options or [f"argument {place}"]:
            yield f"{path} {name}", description


def _described(hint: Any, default: Any) -> str:
    """A type without None, a least value if any, and a default if any."""
    hint, *extras = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
    least = next((extra.min for extra in extras if getattr(extra, "min", None) is not None), None)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    # Python 3.13 alone calls the module of Path by its private name.
    shown = str(hint).replace("typing.", "").replace("pathlib._local.", "pathlib.")
    words = [hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else shown]
    words += [] if least is None else [f"at least {least}"]
    if not any(default is absent for absent in _ABSENT):
        words.append(f"default {default.as_posix() if isinstance(default, Path) else default!r}")
    return ", ".join(words)


def _content(path: Path) -> Any:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if path.suffix == ".toml":
        return tomllib.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True, map_location="cpu")
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            header = dict(sorted((file.metadata() or {}).items()))  # in no order in the file
            return {"metadata": header, "tensors": dict.fromkeys(file.keys(), "")}
    return json.loads(path.read_text(encoding="utf-8"))


def _keys(value: Any, place: str, maps: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    joint = "" if place.endswith(" ") else "."
    if isinstance(value, Mapping) and value and not place.endswith((" optimizer", " recipe")):
        for key, item in value.items():
            yield from _keys(item, f"{place}{joint}{'*' if _is_any(place, maps) else key}", maps)
    elif isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple | Mapping):
        for item in value:
            yield from _keys(item, f"{place}[]", maps)
    else:
        yield place, _kind(value)


def _is_any(place: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(place.strip(), pattern) for pattern in patterns)


def _kind(value: Any) -> str:
    for kind, name in ((bool, "boolean"), ((int, float), "number"), (str, "text"), (torch.Tensor, "tensor")):
        if isinstance(value, kind):
            return name
    return "null" if value is None else "object" if isinstance(value, Mapping) else "array"


def _read(file: Path) -> dict[str, str]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return dict(re.split(r" {2,}", line, maxsplit=1) for line in lines if line)


def _write(file: Path, lines: Mapping[str, str]) -> None:
    width = max(map(len, lines)) + 2
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{name:{width}}{description}\n" for name, description in lines.items()), encoding="utf-8")
