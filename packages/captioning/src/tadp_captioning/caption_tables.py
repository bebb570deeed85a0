"""Captions in tables as people export them: .csv and .tsv of any spreadsheet, and .parquet."""

import csv
import io
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadp_captioning.records import CaptionRecord
from tadp_captioning.text_files import read_text

logger = logging.getLogger(__name__)

TABLES = (".csv", ".tsv", ".parquet")
_SEPARATORS = ",;\t|"
_FURTHER = ("captioner", "params", "source")


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a table (.csv, .tsv, .parquet) calls an image's id and its caption."""

    id: str = "id"
    caption: str = "caption"


def read_table(path: Path, columns: Columns) -> Iterator[CaptionRecord]:
    """One record per image; of several rows for one image the first counts, which a warning says."""
    rows = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path, columns)
    seen: set[str] = set()
    repeated = 0
    for where, row in rows:
        record = _from_row(row, where, columns)
        if record.id in seen:
            repeated += 1
            continue
        seen.add(record.id)
        yield record
    if repeated:
        logger.warning("%s: %d further captions of the same images were left out: the first counts", path, repeated)


def write_table(records: Sequence[CaptionRecord], path: Path, columns: Columns, suffix: str) -> None:
    """Write the table that `suffix` stands for."""
    rows = [_to_row(record, columns) for record in records]
    names = [columns.id, columns.caption, *_FURTHER, "extra"]
    if suffix == ".parquet":
        arrow = pyarrow()
        schema = arrow.schema([(name, arrow.string()) for name in names])
        arrow.parquet.write_table(arrow.Table.from_pylist(rows, schema), path)
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter="\t" if suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)


def _read_csv(path: Path, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where it is, {column: value}) for each row that holds anything."""
    text = read_text(path)
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # other columns may hold whole images as text
    file = io.StringIO(text, newline="")
    skipped, separator = _separator(file, columns)
    reader = csv.reader(file, delimiter=separator, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in (columns.id, columns.caption):
            if [other.casefold() for other in header].count(name.casefold()) > 1 and header.count(name) != 1:
                raise ValueError(f"{path}: several columns are called {name!r}; give each a name of its own")
        for values in reader:
            where = f"{path}, line {skipped + reader.line_num}"
            if len(values) > len(header) and any(values[len(header) :]):
                raise ValueError(
                    f"{where}: {len(values)} values for {len(header)} columns; put a caption that holds "
                    f"{separator!r} in double quotes"
                )
            if any(value.strip() for value in values):
                yield where, dict(zip(header, values, strict=False))
    except csv.Error as error:
        raise ValueError(f"{path}, line {skipped + reader.line_num}: not a table: {error}") from None


def _separator(file: io.StringIO, columns: Columns) -> tuple[int, str]:
    """(lines before the header, the separator): as Excel's own "sep=;" says, else the one that finds the columns.

    Empty lines before the header are passed over.
    """
    skipped, start, header = 0, 0, file.readline()
    while header and not header.strip():
        skipped, start, header = skipped + 1, file.tell(), file.readline()
    named = re.match(r'"?sep=(.)"?\s*$', header)
    if named:
        return skipped + 1, named.group(1)
    file.seek(start)

    def found(separator: str) -> int:
        names = [name.strip().casefold() for name in next(csv.reader([header], delimiter=separator), [])]
        return sum(name.casefold() in names for name in (columns.id, columns.caption))

    return skipped, max(_SEPARATORS, key=found)


def _read_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    parquet, number = pyarrow().parquet, 0
    try:
        for batch in parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: not a complete parquet file: {reason}; export it again") from None


def pyarrow() -> Any:
    """The package, with its module parquet; ValueError where it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise ValueError("parquet files need pyarrow: pip install 'tadp-captioning[parquet]'") from None
    return pyarrow


def _to_row(record: CaptionRecord, columns: Columns) -> dict[str, str]:
    """One text a column; `extra` as JSON, empty where there is none."""
    extra = json.dumps(record.extra, ensure_ascii=False) if record.extra else ""
    row = {columns.id: record.id, columns.caption: record.caption, "extra": extra}
    row |= {name: getattr(record, name) for name in _FURTHER}
    # Bytes of file names that are no UTF-8 cannot be in a table of text: they are shown as escapes.
    return {name: text.encode("utf-8", "backslashreplace").decode() for name, text in row.items()}


def _from_row(row: Mapping[str, Any], where: str, columns: Columns) -> CaptionRecord:
    image_id, caption = _value(row, columns.id), _value(row, columns.caption)
    if image_id is None or caption is None:
        raise ValueError(
            f"{where}: expected columns {columns.id!r} and {columns.caption!r}, got {', '.join(map(str, row))}; "
            "--id-column and --caption-column of `tadp captions convert` name others"
        )
    texts = [text for text in caption if isinstance(text, str)] if isinstance(caption, list) else [str(caption)]
    if not texts or isinstance(image_id, dict | list) or isinstance(caption, dict):
        raise ValueError(f"{where}: expected one id and one caption as text, got {image_id!r} and {str(caption)[:80]}")
    several = {"captions": texts} if len(texts) > 1 else {}
    further = {name: str(row.get(name) or "") for name in _FURTHER}
    return CaptionRecord(id=str(image_id), caption=texts[0], **further, extra=several | _extra(row.get("extra")))


def _value(row: Mapping[str, Any], column: str) -> Any:
    """The value of a column, whose name may be in other capitals."""
    if column in row:
        return row[column]
    return next((value for name, value in row.items() if str(name).casefold() == column.casefold()), None)


def _extra(text: Any) -> dict[str, Any]:
    """Fields as we write them; whatever else a column of this name holds is one field."""
    if not text:
        return {}
    try:
        fields = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        fields = None
    return fields if isinstance(fields, dict) else {"extra": text}
