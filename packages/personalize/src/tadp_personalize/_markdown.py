"""Strings of files and users in Markdown: shown verbatim, never taken for markup.

Packages do not import each other, so each that needs this module has its own copy, kept equal by a test.
"""

import re


def code(text: str) -> str:
    """A code span of one line; what is not printable in `text` is written as escapes."""
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
    if not shown.strip():
        return f"`{shown}`" if shown else "(empty)"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    space = " " if shown[0] in "` " or shown[-1] in "` " else ""  # of which readers drop one at each end
    return f"{fence}{space}{shown}{space}{fence}"
