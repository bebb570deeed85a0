"""Files of captions: JSON Lines, the paper's JSON, CSV, parquet, and .txt next to images."""

import errno
import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tadp_captioning._io import replacing
from tadp_captioning.caption_tables import TABLES, Columns, read_table, write_table
from tadp_captioning.jsonl import read_rows, to_line
from tadp_captioning.records import IMAGE_SUFFIXES, CaptionRecord
from tadp_captioning.text_files import read_text


def read_records(path: Path, columns: Columns | None = None) -> Iterable[CaptionRecord]:
    """Records of a file or folder, by its suffix; `columns` are for tables alone."""
    if not path.exists():
        raise ValueError(f"{path}: no such caption file")
    if path.is_dir():
        return _read_txt(path)
    suffix = _known(path)
    columns = _checked(columns, path)
    return read_table(path, columns) if suffix in TABLES else _READERS[suffix](path)


def write_records(records: list[CaptionRecord], path: Path, columns: Columns | None = None) -> None:
    """Write records in the format of the suffix, in one step: the old file stays until the new one is whole."""
    columns = _checked(columns, path)
    if path.suffix == "" or path.is_dir():
        return _write_txt(records, path)
    suffix = _known(path)
    with replacing(path) as partial:
        if suffix in TABLES:
            write_table(records, partial, columns, suffix)
        else:
            _WRITERS[suffix](records, partial)


def _known(path: Path) -> str:
    """The file's suffix, which says its format."""
    suffix = path.suffix.lower()
    if suffix not in (*_READERS, *TABLES):
        other = "export the sheet as CSV" if suffix in (".xlsx", ".xls", ".ods") else "convert it"
        known = ", ".join((*_READERS, *TABLES))
        raise ValueError(f"{path}: unknown kind of caption file; expected a folder or one of {known}: {other}")
    return suffix


def _checked(columns: Columns | None, path: Path) -> Columns:
    if columns is not None and path.suffix.lower() not in TABLES:
        raise ValueError(f"{path}: names of columns are for {', '.join(TABLES)} files alone")
    return columns or Columns()


def tidy(caption: str) -> str:
    """Without the list dash and the spaces that the paper's caption files hold."""
    return re.sub(r"^\s*-\s+", "", caption).strip()


def read_jsonl(path: Path) -> Iterator[CaptionRecord]:
    """Records line by line; a last line that a killed writer left torn is dropped with a warning."""
    for number, row in read_rows(path):
        try:
            yield CaptionRecord.from_json(row)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None


def _read_paper_json(path: Path) -> Iterator[CaptionRecord]:
    """{"id": {"captions": [text, ...], "class_label": int, ...}}; the first caption counts, all are kept."""
    text = read_text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f'{path}: expected one object {{"id": {{"captions": [...]}}}}')
    for image_id, entry in content.items():
        texts = entry.get("captions") if isinstance(entry, dict) else None
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f'{path}: {image_id!r} should hold {{"captions": [text, ...]}}, got {str(entry)[:80]}')
        caption = tidy(texts[0])
        as_read = {} if texts == [caption] else {"captions": texts}
        others = {name: value for name, value in entry.items() if name != "captions"}
        yield CaptionRecord(id=image_id, caption=caption, source=path.name, extra=as_read | others)


def _write_paper_json(records: list[CaptionRecord], path: Path) -> None:
    """Captions as they were read, where they were; fields of ours that the paper's files lack are left out."""
    content = {
        record.id: {"captions": record.extra.get("captions", [record.caption])}
        | {name: record.extra[name] for name in ("class_label",) if name in record.extra}
        for record in records
        if record.error is None
    }
    path.write_text(to_line(content).rstrip("\n"), encoding="utf-8")


def _write_jsonl(records: list[CaptionRecord], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(to_line(record.to_json()) for record in records)


def _read_txt(folder: Path) -> Iterator[CaptionRecord]:
    """x.txt next to x.jpg (any image suffix), at any depth; other .txt files are ignored."""
    files = [file for file in sorted(folder.rglob("*")) if not _hidden(file.relative_to(folder))]
    images = {file.with_suffix("") for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
    for file in files:
        if file.suffix.lower() == ".txt" and file.with_suffix("") in images:
            image_id = file.relative_to(folder).with_suffix("").as_posix()
            yield CaptionRecord(id=image_id, caption=tidy(read_text(file)), source=file.name)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _write_txt(records: list[CaptionRecord], folder: Path) -> None:
    """One file per caption; those whose name the file system does not take are named once the others are written."""
    refused = {}
    for record in records:
        if record.error is not None:
            continue
        file = folder / (record.id.lstrip("/") + ".txt")
        if not file.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"image id {record.id!r} leads out of the folder {folder}")
        try:
            with replacing(file) as partial:
                partial.write_text(record.caption + "\n", encoding="utf-8")
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            refused[record.id] = error.strerror
    if refused:
        image_id, reason = next(iter(refused.items()))
        raise RuntimeError(
            f"{folder}: {len(refused)} captions could not be written, such as {image_id[:80]!r}: {reason}; "
            "the others are"
        )


_READERS: dict[str, Callable[..., Iterable[CaptionRecord]]] = {".jsonl": read_jsonl, ".json": _read_paper_json}
_WRITERS: dict[str, Callable[..., None]] = {".jsonl": _write_jsonl, ".json": _write_paper_json}
