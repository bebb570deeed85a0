"""What a check-up says: one finding per line."""

from typing import NamedTuple

GIB = 2**30


class Finding(NamedTuple):
    topic: str
    """Heading under which it stands."""
    name: str
    found: str
    fine: bool
    """False: a command will miss it; `found` says what to do."""
