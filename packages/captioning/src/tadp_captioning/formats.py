"""Files of captions: JSON Lines, the paper's JSON, CSV, parquet, and .txt beside images."""

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadp_captioning.store import IMAGE_SUFFIXES, CaptionRecord, read_jsonl


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a table (.csv, .parquet) calls an image's id and its caption."""

    id: str = "id"
    caption: str = "caption"


def read_records(path: Path, columns: Columns | None = None) -> Iterable[CaptionRecord]:
    """Records of a file or folder, by its suffix; `columns` are for tables alone."""
    if not path.exists():
        raise ValueError(f"{path}: no such caption file")
    if path.is_dir():
        return _read_txt(path)
    if path.suffix not in _READERS:
        raise ValueError(f"{path}: unknown kind of caption file; expected a folder or one of {', '.join(_READERS)}")
    reader = _READERS[path.suffix]
    return reader(path, _checked(columns, path)) if path.suffix in _TABLES else reader(path)


def write_records(records: list[CaptionRecord], path: Path, columns: Columns | None = None) -> None:
    """Write records in the format of the suffix, in one step: the old file stays until the new one is whole."""
    columns = _checked(columns, path)
    if path.suffix == "" or path.is_dir():
        return _write_txt(records, path)
    if path.suffix not in _WRITERS:
        raise ValueError(f"{path}: unknown kind of caption file; expected a folder or one of {', '.join(_WRITERS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    if path.suffix in _TABLES:
        _WRITERS[path.suffix](records, unfinished, columns)
    else:
        _WRITERS[path.suffix](records, unfinished)
    os.replace(unfinished, path)


def tidy(caption: str) -> str:
    """Without the list dash and the spaces that the paper's caption files hold."""
    return re.sub(r"^\s*-\s+", "", caption).strip()


def _read_paper_json(path: Path) -> Iterator[CaptionRecord]:
    """{"id": {"captions": [text, ...], "class_label": int, ...}}; the first caption counts, all are kept."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
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
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _write_jsonl(records: list[CaptionRecord], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in records)


_FURTHER = ("captioner", "params", "source")


def _checked(columns: Columns | None, path: Path) -> Columns:
    if columns is not None and path.suffix not in _TABLES:
        raise ValueError(f"{path}: names of columns are for {' and '.join(_TABLES)} files alone")
    return columns or Columns()


def _names(columns: Columns) -> list[str]:
    return [columns.id, columns.caption, *_FURTHER, "extra"]


def _to_row(record: CaptionRecord, columns: Columns) -> dict[str, str]:
    """One text a column; `extra` as JSON, empty where there is none."""
    extra = json.dumps(record.extra, ensure_ascii=False) if record.extra else ""
    further = {name: getattr(record, name) for name in _FURTHER}
    return {columns.id: record.id, columns.caption: record.caption, **further, "extra": extra}


def _from_row(row: dict[str, Any], path: Path, columns: Columns) -> CaptionRecord:
    image_id, caption = row.get(columns.id), row.get(columns.caption)
    if image_id is None or caption is None:
        raise ValueError(
            f"{path}: expected columns {columns.id!r} and {columns.caption!r}, got {', '.join(map(str, row))}"
        )
    further = {name: row.get(name) or "" for name in _FURTHER}
    return CaptionRecord(id=image_id, caption=caption, **further, extra=json.loads(row.get("extra") or "{}"))


def _read_csv(path: Path, columns: Columns) -> Iterator[CaptionRecord]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from (_from_row(row, path, columns) for row in csv.DictReader(file))


def _write_csv(records: list[CaptionRecord], path: Path, columns: Columns) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _names(columns))
        writer.writeheader()
        writer.writerows(_to_row(record, columns) for record in records)


def _pyarrow():
    try:
        import pyarrow.parquet
    except ImportError:
        raise ValueError("parquet files need pyarrow: pip install 'tadp-captioning[parquet]'") from None
    return pyarrow


def _read_parquet(path: Path, columns: Columns) -> Iterator[CaptionRecord]:
    for batch in _pyarrow().parquet.ParquetFile(path).iter_batches():
        yield from (_from_row(row, path, columns) for row in batch.to_pylist())


def _write_parquet(records: list[CaptionRecord], path: Path, columns: Columns) -> None:
    arrow = _pyarrow()
    schema = arrow.schema([(name, arrow.string()) for name in _names(columns)])
    rows = [_to_row(record, columns) for record in records]
    arrow.parquet.write_table(arrow.Table.from_pylist(rows, schema), path)


def _read_txt(folder: Path) -> Iterator[CaptionRecord]:
    """x.txt beside x.jpg (any image suffix), at any depth; other .txt files are none of ours."""
    for file in sorted(folder.rglob("*.txt")):
        if any(file.with_suffix(suffix).exists() for suffix in IMAGE_SUFFIXES):
            image_id = file.relative_to(folder).with_suffix("").as_posix()
            yield CaptionRecord(id=image_id, caption=tidy(file.read_text(encoding="utf-8")), source=file.name)


def _write_txt(records: list[CaptionRecord], folder: Path) -> None:
    for record in records:
        if record.error is None:
            file = folder / (record.id.lstrip("/") + ".txt")
            if not file.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"image id {record.id!r} leads out of the folder {folder}")
            file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_name(f".{file.name}.{os.getpid()}")
            unfinished.write_text(record.caption + "\n", encoding="utf-8")
            os.replace(unfinished, file)


_TABLES = (".csv", ".parquet")
_READERS: dict[str, Callable[..., Iterable[CaptionRecord]]] = {
    ".jsonl": read_jsonl,
    ".json": _read_paper_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
_WRITERS: dict[str, Callable[..., None]] = {
    ".jsonl": _write_jsonl,
    ".json": _write_paper_json,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
