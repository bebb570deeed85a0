"""The number format in which models are trained, whatever default the user's own code has set for torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def in_float32() -> Iterator[None]:
    """Within (or in a function that it decorates) torch's default is float32; the caller's default comes back."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
