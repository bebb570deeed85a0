"""Stopping on request: a SIGTERM is remembered and answered between two steps.

Packages do not import each other, so each that trains has its own copy of this module, kept equal by a test.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether the process was asked to stop."""

    def __init__(self) -> None:
        self.made = False

    def make(self, signum: int, frame: FrameType | None) -> None:
        """Remember the signal."""
        self.made = True


@contextmanager
def stop_on_sigterm() -> Iterator[StopRequest]:
    """Within, SIGTERM makes the yielded request instead of ending the process, if this is the main thread."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = signal.signal(signal.SIGTERM, request.make)
    try:
        yield request
    finally:
        signal.signal(signal.SIGTERM, before)
