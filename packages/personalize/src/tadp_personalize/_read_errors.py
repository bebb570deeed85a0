"""Libraries that read files from anywhere: what they raise becomes a ValueError of one line that names the file.

Packages do not import each other, so each that needs this module has its own copy, kept equal by a test.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def reading(source: str | Path, fix: str) -> Iterator[None]:
    """Around a library's reading of `source`; `fix`: what the user can do.

    The libraries check neither types nor sizes, so that a malformed file leads them into exceptions of any kind.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{source} cannot be read: {reason_of(error)}; {fix}") from error


def reason_of(error: BaseException) -> str:
    """An error's message in one line of at most 200 characters, or its kind where it has none."""
    message = " ".join(str(error).split())
    if isinstance(error, LookupError):  # whose message may be the key alone
        message = f"{type(error).__name__}: {message}"
    if "weights_only" in message:  # torch's message continues with how to read it unsafely
        return "no whole pickle of tensors alone, and any other could run code"
    return message[:200] or type(error).__name__
