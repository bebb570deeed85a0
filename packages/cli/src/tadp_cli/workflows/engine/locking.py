"""One run a folder at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK_FILE = ".lock"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the folder; refused where another process holds it. The system lets go of it when the process dies.

    A folder in which nothing was written is removed on leaving.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _LOCK_FILE
    handle = _locked(path)
    try:
        yield
    finally:
        path.unlink()
        os.close(handle)
        if not any(folder.iterdir()):
            folder.rmdir()


def _locked(path: Path) -> int:
    """The open file, locked; tried again where its last holder has removed it between opening and locking."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise ValueError(
                f"another process is at work on {path.parent}; wait for it to end, or name another --out"
            ) from None
        try:
            if os.stat(path).st_ino == os.fstat(handle).st_ino:
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)
