"""JSON Lines files that are appended to by several processes and survive their being killed."""

import codecs
import json
import logging
import os
from collections.abc import Iterable, Iterator
from io import RawIOBase
from pathlib import Path
from typing import Any

from tadp_captioning._io import naming, write_whole
from tadp_captioning.text_files import UTF16

logger = logging.getLogger(__name__)


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of each line; a last line that a killed writer left torn is dropped with a warning."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and line.startswith(UTF16):
                raise ValueError(f"{path}: UTF-16, and JSON Lines are UTF-8: save it as UTF-8")
            line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not line.strip():
                continue  # as editors leave at the end
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):  # also a character cut in two
                if line.endswith(b"\n"):
                    raise ValueError(f"{path}, line {number}: not JSON: {line[:80]!r}") from None
                logger.warning("%s: dropped a torn last line (line %d)", path, number)
                return
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: expected an object, got {line[:80]!r}")
            yield number, row


def to_line(row: dict[str, Any]) -> str:
    """One line of UTF-8; a file name that is no UTF-8 is written as JSON's escapes, so that it is found again."""
    line = json.dumps(row, ensure_ascii=False) + "\n"
    return line if _is_utf8(line) else json.dumps(row) + "\n"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def append_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append one line per object and wait until they are on disk; several processes may append to one file."""
    import fcntl

    lines = "".join(to_line(row) for row in rows)
    with naming(path, path), path.open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _end_last_line(file)
        write_whole(file, lines.encode())
        os.fsync(file.fileno())


def _end_last_line(file: RawIOBase) -> None:
    """Cut a torn last line, which under the lock can only be a killed writer's; end one that lacks its newline."""
    end = file.seek(0, os.SEEK_END)
    start, tail = end, b""
    while start > 0 and b"\n" not in tail:
        start = max(0, start - 4096)
        file.seek(start)
        tail = file.read(end - start)
    last = tail[tail.rfind(b"\n") + 1 :]
    if last and _is_json(last):
        file.write(b"\n")
    else:
        file.truncate(end - len(last))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
