"""Who is told of progress."""

from collections.abc import Callable

Report = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, how much there is."""
