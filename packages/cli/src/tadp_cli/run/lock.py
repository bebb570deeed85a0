"""One process at a time writes to a folder or file."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tadp_heads.atomic_files import naming


@contextmanager
def run_lock(folder: Path) -> Iterator[bool]:
    """Holds the folder, cleared of what killed processes left half-written; refused where another process holds it.

    Yields whether the last holder was killed. A new folder in which nothing was written is removed on leaving.
    """
    with _lock(folder / ".lock", folder) as killed:
        remove_leftovers(folder)
        yield killed


def remove_leftovers(folder: Path) -> None:
    """What killed processes left half-written below a folder (`.NAME.part`); nobody else may be at work there."""
    for path in list(folder.rglob(".*.part")):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def file_lock(path: Path, number: int = 0) -> Iterator[None]:
    """Holds one file; processes that share it have different numbers."""
    with _lock(path.with_name(f".{path.name}.lock{number or ''}"), path):
        yield


@contextmanager
def _lock(path: Path, held: Path) -> Iterator[bool]:
    """The system lets go of it when the process dies; the file then stays, and says so."""
    killed, made = path.exists(), not path.parent.exists()
    with naming(held, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(path, held)
    try:
        yield killed
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
        with suppress(OSError):  # removed meanwhile, or written to
            if made and not any(path.parent.iterdir()):
                path.parent.rmdir()


def _locked(path: Path, held: Path) -> int:
    """The open file, locked; tried again where its last holder has removed it between opening and locking."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise ValueError(
                f"another process is at work on {held}; wait for it to end, or name another --out"
            ) from None
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):  # a file system without locks
                os.close(handle)
                raise
        try:
            if os.path.samestat(os.stat(path), os.fstat(handle)):
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)
