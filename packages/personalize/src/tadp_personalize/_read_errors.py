"""Libraries that read files from anywhere: what they raise becomes a ValueError of one line that names the file.

Packages do not import each other, so each that needs this module has its own copy, kept equal by a test.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MOST_LAYERS = 1000
MOST_SIZE = 2**21
"""Of a number in a model's config.json: widths, vocabularies, positions."""
_NO_SIZES = ("theta", "_id", "_ids", "seed", "max_position_embeddings")
_NO_MEMORY = re.compile("out of memory|can't allocate memory", re.IGNORECASE)


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
        if lacks_memory(error):
            raise RuntimeError(f"{source} needs more memory than is available: {reason_of(error)}") from error
        raise ValueError(f"{source} cannot be read: {reason_of(error)}; {fix}") from error


def lacks_memory(error: BaseException) -> bool:
    """Whether torch's allocator found none, of the machine or of a GPU."""
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def check_sizes(values: Any, source: str | Path, name: str = "") -> None:
    """Refuse a config of sizes that no model has, before a library begins to build it; `values` are those of JSON."""
    if isinstance(values, dict):
        for key, value in values.items():
            check_sizes(value, source, key)
    elif isinstance(values, list | tuple):
        for value in values:
            check_sizes(value, source, name)
    elif type(values) in (int, float) and not name.endswith(_NO_SIZES):
        most = MOST_LAYERS if "layers" in name or name.startswith("depth") else MOST_SIZE
        if values > most:
            raise ValueError(f"{source}: {name} is {str(values)[:20]}, expected at most {most}")


def reason_of(error: BaseException) -> str:
    """An error's message in one line of at most 200 characters, or its kind where it has none."""
    message = " ".join(str(error).split())
    if isinstance(error, LookupError):  # whose message may be the key alone
        message = f"{type(error).__name__}: {message}"
    if "ignore_mismatched_sizes" in message:  # transformers' report goes elsewhere
        return "config.json gives other sizes than the weights have"
    if "weights_only" in message:  # torch's message continues with how to read it unsafely
        return "no complete pickle of tensors only, and any other could run code"
    return message[:200] or type(error).__name__
