"""Captions by image id, kept in a JSON Lines file that survives being killed at any moment."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tadp_captioning.caption_tables import Columns
from tadp_captioning.formats import read_jsonl, read_records, write_records
from tadp_captioning.hub.dataset import captions_path, push_captions
from tadp_captioning.jsonl import append_rows
from tadp_captioning.records import CaptionRecord, image_key


class CaptionStore:
    """Captions by image id, in the order they came; of several lines for one id the last counts.

    An id is also found by its path without image suffix or leading slash, so that the captions of one tool serve
    the file names of another.
    """

    def __init__(self, records: Iterable[CaptionRecord] = (), *, path: Path | None = None):
        self.path = path
        self._records = {record.id: record for record in records}
        self._by_key: dict[str, str] | None = None  # built on the first id that is not there literally

    @classmethod
    def read(cls, path: str | Path, *, columns: Columns | None = None, revision: str | None = None) -> "CaptionStore":
        """A .jsonl, the paper's .json, .csv, .tsv, .parquet, or a folder of .txt files next to images.

        Or a data set repository owner/name of the hub, that `push_to_hub` made, at `revision`. `columns` name a table's
        id and caption where they are not called so. ValueError names file and line of what cannot be read.
        """
        return cls(read_records(captions_path(path, revision), columns))

    @classmethod
    def open(cls, path: str | Path) -> "CaptionStore":
        """A .jsonl file to add to, new or existing; `add` then writes at once. ValueError for other formats."""
        path = Path(path).expanduser()
        if path.suffix != ".jsonl":
            raise ValueError(
                f"{path}: captions are added to a .jsonl file alone; write one, and `tadp captions convert` it"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        return cls(read_jsonl(path) if path.exists() else (), path=path)

    def add(self, *records: CaptionRecord) -> None:
        """Take records in and, in a store that was opened, append them to its file before returning."""
        if self.path is not None and records:
            append_rows(self.path, (record.to_json() for record in records))
        self._records |= {record.id: record for record in records}
        self._by_key = None

    def write(self, path: str | Path, *, columns: Columns | None = None) -> None:
        """Write all records in the format of the suffix (.jsonl, .json, .csv, .parquet; a folder: .txt files)."""
        write_records(list(self.records()), Path(path), columns)

    def push_to_hub(self, repository: str, *, private: bool = False, **card: str) -> str:
        """Upload all records to a data set repository of the hub; the address of the commit.

        Needs the extra `tadp-captioning[parquet]`. `card`: see `tadp_captioning.hub.dataset.push_captions`.
        """
        return push_captions(list(self.records()), repository, private=private, **card)

    def __getitem__(self, image_id: str) -> str:
        record = self.record(image_id)
        if record.error is not None:
            raise ValueError(f"image {image_id!r} has no caption: {record.error}")
        return record.caption

    def __contains__(self, image_id: object) -> bool:
        return isinstance(image_id, str) and self._find(image_id) is not None

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def records(self) -> Iterable[CaptionRecord]:
        """All records, failed images included."""
        return self._records.values()

    def get(self, image_id: str) -> CaptionRecord | None:
        """The record of exactly this id, or None."""
        return self._records.get(image_id)

    def record(self, image_id: str) -> CaptionRecord:
        """The record of one image; an id that is not there is a ValueError."""
        found = self._find(image_id)
        if found is None:
            example = f", e.g. {next(iter(self))!r}" if len(self) else ""
            where = f" in {self.path}" if self.path else ""
            raise ValueError(f"no caption for image {image_id!r}{where} ({len(self)} ids{example})")
        return self._records[found]

    def missing(self, image_ids: Iterable[str]) -> list[str]:
        """Those of the ids that have no caption, failed ones included, in the order given."""
        return [i for i in image_ids if (found := self._find(i)) is None or self._records[found].error is not None]

    def failed(self) -> dict[str, str]:
        """Images that could not be captioned, with the reason."""
        return {record.id: record.error for record in self.records() if record.error is not None}

    def _find(self, image_id: str) -> str | None:
        if image_id in self._records:
            return image_id
        if self._by_key is None:
            self._by_key = {image_key(known): known for known in self._records}
        return self._by_key.get(image_key(image_id))
