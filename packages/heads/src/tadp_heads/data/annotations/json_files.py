"""JSON of annotation tools: strict about what it holds, one line about what is wrong."""

import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import is_hidden
from tadp_heads.data.safe_paths import inside


def json_files(root: Path) -> Iterator[Path]:
    """Those below `root`, sorted, without hidden ones and without predictions, which are no labels."""
    for path in sorted(root.rglob("*.json")):
        relative = path.relative_to(root)
        if not is_hidden(relative) and path.is_file() and not _is_predicted(root, relative):
            yield inside(root, path)


def _is_predicted(root: Path, relative: Path) -> bool:
    """Whether the file lies in a folder that `tadp predict` wrote below `root`."""
    folders = [root / folder for folder in relative.parents if folder != Path()]
    return any(all((folder / name).is_file() for name in ("settings.json", "captions.jsonl")) for folder in folders)


def holds(path: Path, words: Sequence[bytes], start: bytes = b"") -> bool:
    """Whether the file has all these bytes, and begins with `start` after blanks; it is not read into memory."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        head = content[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
        return head.startswith(start) and all(content.find(word) >= 0 for word in words)


def read_object(path: Path) -> Any:
    """What the file holds, with or without a byte-order mark; a DataError where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            path, found=f"no valid JSON ({error})", expected="an annotation file", fix="export it again"
        ) from error


def table_of(path: Path, content: Any, name: str) -> list[dict[str, Any]]:
    """The list of objects of this name; a DataError where it is something else."""
    value = content.get(name) if isinstance(content, dict) else None
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise DataError(path, found=f"no list {name!r} of objects", expected="one", fix="export it again")
    return value


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """(width, height); None where they are missing or 0, as some tools write them."""
    return (width, height) if all(type(side) is int and side > 0 for side in (width, height)) else None
