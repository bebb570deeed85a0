"""Versions of file formats: an integer in each file that this code writes; a file without one is of the first.

The libraries do not import each other, so each has its own copy of this module, kept equal by a test.
"""

from pathlib import Path
from typing import Any


def check_format(version: Any, newest: int, source: str | Path) -> None:
    """Raise unless `version`, as read from `source`, is 1 to `newest`, as a number or its digits, or None."""
    number = int(version) if isinstance(version, str) and version.isdecimal() and len(version) < 10 else version
    if number is None:
        return
    if type(number) is not int or number < 1:
        raise ValueError(f"{source}: its format is {str(version)[:40]!r}, expected a number from 1 to {newest}")
    if number > newest:
        raise ValueError(
            f"{source} was written by a newer tadp (format {number}; this one reads up to {newest}): upgrade tadp"
        )
