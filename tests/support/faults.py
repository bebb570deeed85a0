"""What a killed process can leave on the disk, and operations that fail, by Python's audit events.

A killed process leaves what lay on the disk before its next operation. So one undisturbed run gives all these states:
its folder is recorded before each file is opened for writing, renamed or removed and before each sync, and once more
with the file that is being written cut in the middle. A recording keeps each version of a file once.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PATHS = {"open": 1, "os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.truncate": 1}
"""{audit event: how many of its arguments are paths}."""
_FOLDER_HANDLES = {"os.mkdir": 2, "os.remove": 1, "os.rmdir": 1}
"""{audit event: index of the argument with the open folder that a relative path starts from}."""

_listening: list[Callable[[str, list[Path], tuple], None]] = []
_hooked = False


def _hook(event: str, args: tuple) -> None:
    if not _listening or event not in _PATHS or (event == "open" and not _writes(args)):
        return
    listener = _listening.pop()  # what it does itself is nobody's business
    try:
        listener(event, [_absolute(path, event, args) for path in args[: _PATHS[event]]], args)
    finally:
        _listening.append(listener)


def _writes(args: tuple) -> bool:
    return isinstance(args[0], str | bytes | os.PathLike) and bool(args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _absolute(path: Any, event: str, args: tuple) -> Path:
    if isinstance(path, int):
        return Path(os.readlink(f"/proc/self/fd/{path}"))
    index = _FOLDER_HANDLES.get(event)
    handle = -1 if index is None or len(args) <= index else args[index]
    folder = f"/proc/self/fd/{handle}" if isinstance(handle, int) and handle >= 0 else "."
    return Path(os.path.realpath(folder), os.path.dirname(os.fsdecode(path)), os.path.basename(os.fsdecode(path)))


@contextmanager
def _heard(listener: Callable[[str, list[Path], tuple], None]) -> Iterator[None]:
    global _hooked
    if not _hooked:  # a hook cannot be taken away again
        sys.addaudithook(_hook)
        _hooked = True
    sync = os.fsync

    def fsync(handle: int) -> None:
        _listening.clear()
        listener("os.fsync", [Path(os.readlink(f"/proc/self/fd/{handle}"))], ())
        _listening.append(listener)
        sync(handle)

    _listening.append(listener)
    os.fsync = fsync
    try:
        yield
    finally:
        os.fsync = sync
        _listening.clear()


@dataclass(frozen=True)
class DiskState:
    """The content of a folder before an operation."""

    before: str
    files: dict[str, tuple[Path, int]]
    """{relative path: (copy of the file, bytes of it)}."""
    folders: tuple[str, ...]

    def put(self, folder: Path) -> None:
        """Make the folder that of this state."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in self.folders:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name, (copy, size) in self.files.items():
            shutil.copyfile(copy, folder / name)
            os.truncate(folder / name, size)


class _Recorder:
    def __init__(self, folder: Path, copies: Path):
        self.folder, self.copies = folder, copies
        self.states: list[DiskState] = []
        self._seen: set[tuple] = set()
        self._begun: dict[Path, int] = {}  # file -> its bytes before what is being written

    def __call__(self, event: str, paths: list[Path], args: tuple) -> None:
        if not any(path.is_relative_to(self.folder) for path in paths):
            return
        what = f"{event} {' '.join(os.path.relpath(path, self.folder) for path in paths)}"
        self._keep(what)
        if event == "os.rename":
            self._keep(f"the end of writing {paths[0].name}", _cut(paths[0], 0))
        for path, size in self._begun.items():
            if path.is_file() and path.stat().st_size > size:
                self._keep(f"the end of writing {path.name}", _cut(path, size))
        if event == "open":
            appends = args[1] is not None and "a" in args[1]
            self._begun = {paths[0]: paths[0].stat().st_size if appends and paths[0].is_file() else 0}

    def _keep(self, before: str, cut: dict[Path, int] | None = None) -> None:
        files, folders = {}, []
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_dir():
                folders.append(name)
                continue
            found = path.stat()
            copy = self.copies / f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"
            if not copy.exists():
                shutil.copyfile(path, copy)
            files[name] = (copy, (cut or {}).get(path, found.st_size))
        key = (tuple(files.items()), tuple(folders))
        if key not in self._seen:
            self._seen.add(key)
            self.states.append(DiskState(before, files, tuple(folders)))


def _cut(path: Path, size: int) -> dict[Path, int]:
    """The file, or the largest one of a folder, with half of what was added to its first `size` bytes."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    largest = max(files, key=lambda file: file.stat().st_size, default=None)
    return {} if largest is None else {largest: (size + largest.stat().st_size) // 2}


def states_of(command: Callable[[], Any], folder: Path, copies: Path) -> list[DiskState]:
    """Run the command, which writes below `folder`; all states in which it can be killed, in order, each once."""
    copies.mkdir(parents=True)
    recorder = _Recorder(folder.resolve(), copies)
    with _heard(recorder):
        command()
    return recorder.states


@contextmanager
def failing(folder: Path, number: int, code: int) -> Iterator[list[str]]:
    """Inside, operation `number` below the folder and all that follow fail with this errno; yields what was refused."""
    count, refused, folder = 0, [], folder.resolve()

    def refuse(event: str, paths: list[Path], args: tuple) -> None:
        nonlocal count
        if event not in ("open", "os.mkdir", "os.fsync") or not paths[0].is_relative_to(folder):
            return
        count += 1
        if count > number:
            refused.append(str(paths[0]))
            raise OSError(code, os.strerror(code), str(paths[0]))

    with _heard(refuse):
        yield refused
