"""Captions by image id, kept in a JSON Lines file that survives being killed at any moment."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from tadp_captioning._format import check_format
from tadp_captioning.jsonl import append_rows, read_rows
from tadp_captioning.text_files import writable

if TYPE_CHECKING:
    from tadp_captioning.formats import Columns

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff"),
    *(".gif", ".ppm", ".pgm", ".avif", ".jp2"),
)
FORMAT, FORMAT_KEY = 1, "tadp_format"
"""Of the lines of JSON Lines files; each line has it, since several versions may append to one file."""
_OWN_FIELDS = ("id", "caption", "captioner", "params", "source")


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptionRecord:
    """One image's caption and where it comes from: a line of the file."""

    id: str
    """What the data set calls the image: its path below the image folder, without suffix where we chose it."""
    caption: str
    """The text a model is given; "" for an image that could not be captioned (then `extra` has an "error")."""
    captioner: str = ""
    params: str = ""
    """Generation settings, e.g. "min=0_max=77"."""
    source: str = ""
    """The file that the caption was made from, relative to the folder of the captions, or read from."""
    cleaner: str = ""
    """What removed the words for a domain: "rules" or "openai:MODEL"; "" for nothing, or not recorded."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further fields: "captions" (texts as read, where they differ), "class_label", the content's "hash", "error"."""

    def __post_init__(self):
        object.__setattr__(self, "caption", writable(self.caption))

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "CaptionRecord":
        """A line's object -> a record, which keeps what is left of the object as its `extra`."""
        check_format(row.pop(FORMAT_KEY, None), FORMAT, "the caption")
        image_id, caption = row.pop("id", None), row.pop("caption", None)
        if not isinstance(image_id, str) or not isinstance(caption, str):
            raise ValueError("expected an object with texts 'id' and 'caption'")
        others = {name: row.pop(name, "") for name in ("captioner", "params", "source", "cleaner")}
        if not all(isinstance(value, str) for value in others.values()):
            raise ValueError(f"expected texts {', '.join(map(repr, others))}")
        return cls(id=image_id, caption=caption, **others, extra=row)

    def to_json(self) -> dict[str, Any]:
        """The object that is written as one line."""
        cleaned = {"cleaner": self.cleaner} if self.cleaner else {}
        return {name: getattr(self, name) for name in _OWN_FIELDS} | cleaned | self.extra | {FORMAT_KEY: FORMAT}

    def with_caption(self, caption: str) -> "CaptionRecord":
        """The same image with another text; texts as once read no longer apply."""
        return replace(self, caption=caption, extra={k: v for k, v in self.extra.items() if k != "captions"})

    @property
    def error(self) -> str | None:
        """Why the image has no caption, or None."""
        return self.extra.get("error")


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
    def read(cls, path: str | Path, *, columns: "Columns | None" = None) -> "CaptionStore":
        """A .jsonl, the paper's .json, .csv, .tsv, .parquet, or a folder of .txt files beside images.

        `columns` name a table's id and caption where they are not called so.
        """
        from tadp_captioning.formats import read_records

        path = Path(path).expanduser()
        return cls(read_records(path, columns))

    @classmethod
    def open(cls, path: str | Path) -> "CaptionStore":
        """A .jsonl file to add to, new or existing; `add` then writes at once."""
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

    def write(self, path: str | Path, *, columns: "Columns | None" = None) -> None:
        """Write all records in the format of the suffix (.jsonl, .json, .csv, .parquet; a folder: .txt files)."""
        from tadp_captioning.formats import write_records

        write_records(list(self.records()), Path(path), columns)

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


def image_key(image_id: str) -> str:
    """What two spellings of one image's id share: no leading slash, no image suffix."""
    path = PurePosixPath(image_id.lstrip("/"))
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else str(path)


def read_jsonl(path: Path) -> Iterator[CaptionRecord]:
    """Records line by line; a last line that a killed writer left torn is dropped with a warning."""
    for number, row in read_rows(path):
        try:
            yield CaptionRecord.from_json(row)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
