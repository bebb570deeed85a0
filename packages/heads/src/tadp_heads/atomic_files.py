"""Files and folders that are complete or absent: written under a temporary name in the same folder, then renamed.

The libraries do not import each other, so each other one has a copy, `_io`, of what it needs of this module, kept equal
by a test. A killed process leaves `.NAME.part`: the next writer of NAME takes it over.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: two writers of one file do not wait for each other
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""Error numbers of file systems without locks."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a name to write to; on success it becomes `path` in one step, on failure it is removed.

    Another process that writes the same `path` waits. What the system refuses is an OSError that names `path`.
    """
    partial = _partial(path)
    with naming(path, partial):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = _held(partial)
        try:
            yield partial
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder to fill; on success it takes the place of `path`, on failure it is removed.

    One process at a time may write `path`.
    """
    partial, old = _partial(path), _partial(path.with_name(f"{path.name}.old"))
    with naming(path, partial):
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            yield partial
            if path.exists():
                os.replace(path, old)
            os.replace(partial, path)
        finally:
            for leftover in (partial, old):
                shutil.rmtree(leftover, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, allow_nan: bool = True) -> None:
    """Write `value` as indented JSON; a file name that is no UTF-8 is written as escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=allow_nan)
    if text != text.encode("utf-8", "replace").decode():
        text = json.dumps(value, indent=2, allow_nan=allow_nan)
    write_text(path, text + "\n")


def append(path: Path, text: str) -> None:
    """Add whole lines to a file, or nothing."""
    with naming(path, path), path.open("ab", buffering=0) as file:
        write_whole(file, text.encode())


def write_whole(file: RawIOBase, data: bytes) -> None:
    """Add to the end of a file; what was written before a failure is taken back."""
    end = file.seek(0, os.SEEK_END)
    try:
        while data:
            data = data[file.write(data) :]
    except BaseException:
        file.truncate(end)
        raise


@contextmanager
def naming(path: Path, partial: Path) -> Iterator[None]:
    """Inside, a write to `partial` that the system refuses is an OSError that names `path`, whoever writes."""
    try:
        yield
    except Exception as error:
        named = Path(getattr(error, "filename", None) or partial)
        if not _is_refused(error) or partial not in (named, *named.parents):
            raise
        number = getattr(error, "errno", None) or _errno_in(str(error))
        if number is None:
            raise OSError(f"{path} could not be written completely ({error})") from error
        raise OSError(number, os.strerror(number), str(path)) from error


def is_limit(error: Exception) -> bool:
    """Whether a file could not be opened for a limit of this process or machine, whatever is in it."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def _partial(path: Path) -> Path:
    # A name may have 255 bytes: the long ones are cut, and distinguished by their hash.
    name = os.fsencode(path.name)
    cut = path.name if len(name) < 250 else f"{path.name[:50]}.{hashlib.sha256(name).hexdigest()[:12]}"
    return path.with_name(f".{cut}.part")


def _held(partial: Path) -> int:
    """The open and locked file, empty; tried again where its last holder has renamed it before letting go."""
    while True:
        handle = os.open(partial, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle)
            if os.path.samestat(os.stat(partial), os.fstat(handle)):
                os.truncate(handle, 0)
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int) -> None:
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def _is_refused(error: Exception) -> bool:
    """Safetensors (Rust) and torch's zip files (C++) have errors of their own for a write that failed."""
    return isinstance(error, OSError) or bool(re.search(r"\(os error \d+\)|inline_container", str(error)))


def _errno_in(message: str) -> int | None:
    found = re.search(r"\(os error (\d+)\)", message)
    return int(found[1]) if found else None
