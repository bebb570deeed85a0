"""Warnings about which a user can do nothing."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_torchvision() -> Iterator[None]:
    """Inside, nothing warns that torchvision's detection uses a function of torch that has a new name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`create_unbacked_symint` is deprecated", FutureWarning)
        yield
