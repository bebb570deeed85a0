"""A folder belongs to the settings that it was begun with: results of others are not to be taken for theirs."""

import json
from pathlib import Path
from typing import Any

from tadp_cli._io import write_json


def claim(file: Path, settings: dict[str, Any], what: str) -> None:
    """Write the settings into the file, or refuse where it holds others; `what` the folder holds, in words."""
    mine = json.loads(json.dumps(settings))
    if file.is_file():
        theirs = json.loads(file.read_text())
        if theirs != mine:
            other = next(key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key))
            raise ValueError(
                f"{file.parent} holds {what} with other settings ({other} was {theirs.get(other)!r}, is now "
                f"{mine.get(other)!r}); name another --out, or remove it"
            )
        return
    write_json(file, mine)
