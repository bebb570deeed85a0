"""The terminal: strings of files and servers are shown, never obeyed."""

import logging
import re
import warnings
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters but a new line, and those that change the order in which the text around them is shown."""


def printable(text: str, encoding: str = "utf-8") -> str:
    """`text` with control characters, direction marks and what `encoding` lacks written as escapes; "\\n" stays."""
    shown = _ACTS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
    return shown.encode(encoding, "backslashreplace").decode(encoding)


class SafeConsole(Console):
    """A console to which no string is markup, an emoji code or a control sequence."""

    def __init__(self, *, stderr: bool = False):
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escapes what rich, having laid it out, is about to write; its own sequences are made later."""
        for segment in super().render(renderable, options):
            text = segment.text if segment.control else printable(segment.text, self.encoding)
            yield Segment(text, segment.style, segment.control)


class PrintableRecord(logging.LogRecord):
    """A record of any logger and handler, those of libraries included, with strings of files and servers in it."""

    def getMessage(self) -> str:  # noqa: N802
        return printable(super().getMessage())


_format_warning = warnings.formatwarning


def printable_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """In place of `warnings.formatwarning`."""
    return printable(_format_warning(message, category, filename, lineno, line))
