"""Strings of files and users in Markdown: shown verbatim, never taken for markup.

Packages do not import each other, so each that needs this module has its own copy, kept equal by a test.
"""

import json
import re
from collections.abc import Mapping
from typing import Any


def code(text: str) -> str:
    """A code span of one line; what is not printable in `text` is written as escapes."""
    shown = _printable(text)
    if not shown.strip():
        return f"`{shown}`" if shown else "(empty)"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    space = " " if shown[0] in "` " or shown[-1] in "` " else ""  # of which readers drop one at each end
    return f"{fence}{space}{shown}{space}{fence}"


def front_matter(values: Mapping[str, Any]) -> str:
    """The metadata block that a card of the hub begins with: YAML, each value as JSON, which is YAML too."""
    lines = [f"{key}: {_printable(json.dumps(value, ensure_ascii=False))}" for key, value in values.items()]
    return "\n".join(["---", *lines, "---"])


def _printable(text: str) -> str:
    """The text with escapes for what is not printable."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
