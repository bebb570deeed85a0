"""A folder belongs to the settings that it was begun with: results of others are not to be taken for theirs."""

import json
from pathlib import Path
from typing import Any

from tadp_cli.config.removed import without_removed
from tadp_cli.run.records import read_object
from tadp_heads.atomic_files import write_json


def claim(file: Path, settings: dict[str, Any], what: str, defaults: dict[str, Any] | None = None) -> None:
    """Write the settings into the file, or refuse where it holds others; `what` the folder holds, in words.

    `defaults`: of settings that the file of an earlier version does not have yet.
    """
    mine = json.loads(json.dumps(settings))
    if file.is_file():
        theirs = _filled(_current(file), json.loads(json.dumps(defaults or {})))
        if theirs != mine:
            other = next(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
            raise ValueError(
                f"{file.parent} holds {what} with other settings ({other} was {theirs.get(other)!r}, is now "
                f"{mine.get(other)!r}); name another --out, or remove it"
            )
        return
    write_json(file, mine)


def _current(file: Path) -> dict[str, Any]:
    """The settings in the file; those of its recipe that were removed since are left out."""
    settings = read_object(file)
    if isinstance(settings.get("recipe"), dict):
        try:
            settings["recipe"] = without_removed(settings["recipe"])
        except ValueError as error:
            raise ValueError(f"{file}: {error}; or name another --out") from error
    return settings


def _filled(settings: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The settings with the defaults where they are missing, section by section."""
    filled = defaults | settings
    for key, value in defaults.items():
        if isinstance(value, dict) and isinstance(filled[key], dict):
            filled[key] = _filled(filled[key], value)
    return filled
