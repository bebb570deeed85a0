"""Findings of a check, one per line."""

from typing import NamedTuple

GIB = 2**30


class Finding(NamedTuple):
    topic: str
    """Heading under which it stands."""
    name: str
    found: str
    fine: bool
    """False: a command needs it; `found` has the remedy."""
