"""Images inside large files: tar archives in webdataset's layout, and parquet tables."""

import functools
import glob
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadp_captioning.caption_tables import pyarrow
from tadp_captioning.records import IMAGE_SUFFIXES

PACKED = (".tar", ".parquet")
IMAGE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "bytes")
ID_COLUMNS = ("id", "key", "__key__", "image_id", "file_name", "name")
"""Columns of a table that are looked for, in this order."""
_COMPRESSED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class TarImage:
    """A member of an uncompressed tar archive; read like a file, where it lies."""

    archive: str
    inner: str
    """Path inside the archive."""
    offset: int
    size: int
    """Bytes."""

    def __fspath__(self) -> str:
        return f"{self.archive}/{self.inner}"

    __str__ = __fspath__

    @property
    def name(self) -> str:
        """Of the member, without folders."""
        return os.path.basename(self.inner)

    def read_bytes(self) -> bytes:
        """The member's content; OSError where the archive has become shorter."""
        with open(self.archive, "rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise OSError(f"{self.archive} ends inside {self.inner}")
        return content


@dataclass(frozen=True)
class ParquetImage:
    """A cell of a parquet table that holds an image's bytes; read like a file."""

    table: str
    column: str
    group: int
    row: int
    """Of the row group, and in it."""
    name: str

    def __fspath__(self) -> str:
        return f"{self.table}/{self.name}"

    __str__ = __fspath__

    def read_bytes(self) -> bytes:
        """The image's content; ValueError for an empty cell."""
        content = _cells(self.table, self.column, self.group)[self.row]
        content = content.get("bytes") if isinstance(content, dict) else content
        if not isinstance(content, bytes):
            raise ValueError(f"no bytes in the column {self.column}")
        return content


PackedImage = TarImage | ParquetImage


def is_packed(data: Sequence[str]) -> bool:
    """Whether tar archives or parquet tables are named; ValueError for a mixture, and for compressed archives."""
    packed = [name for name in data if str(name).lower().endswith((*PACKED, *_COMPRESSED))]
    compressed = [name for name in packed if str(name).lower().endswith(_COMPRESSED)]
    if compressed:
        raise ValueError(f"{compressed[0]}: images are read where they lie in an archive: unpack it to a plain .tar")
    if packed and len(packed) < len(data):
        raise ValueError(f"{packed[0]} together with other images: name archives and tables alone")
    return bool(packed)


def packed_images(data: Sequence[str]) -> dict[str, PackedImage]:
    """Images by id, in order, of archives and tables; each name may be a glob, such as shards/*.tar.

    An id is webdataset's key, the member's path up to the first dot of its name, or what the table's id column says;
    where several files have it, with the file's name before it.
    """
    files = [file for name in data for file in sorted(glob.glob(os.path.expanduser(name))) or [name]]
    found = [(file, image_id, image) for file in files for image_id, image in _images_of(Path(file))]
    shared = Counter(image_id for _, image_id, _ in found)
    images: dict[str, PackedImage] = {}
    for file, image_id, image in found:
        own = image_id if shared[image_id] == 1 else f"{Path(file).stem}/{image_id}"
        if own in images:
            raise ValueError(f"{file}: the id {image_id!r} is there twice: give each image a key of its own")
        images[own] = image
    if not images:
        raise ValueError(f"no images in {', '.join(map(str, data))}: expected members such as 000001.jpg")
    return images


def _images_of(file: Path) -> Iterator[tuple[str, PackedImage]]:
    if not file.is_file():
        raise ValueError(f"{file}: no such archive or table")
    yield from _of_tar(file) if file.suffix.lower() == ".tar" else _of_parquet(file)


def _of_tar(file: Path) -> Iterator[tuple[str, PackedImage]]:
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                folder, name = os.path.split(member.name)
                hidden = name.startswith(".")
                if member.isreg() and not hidden and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES:
                    key = os.path.normpath(os.path.join(folder, name.partition(".")[0]))
                    if key.startswith(("/", "..")):
                        raise ValueError(f"{file}: the member {member.name!r} leads out of it: pack it again")
                    yield key, TarImage(str(file), member.name, member.offset_data, member.size)
    except tarfile.TarError as error:
        raise ValueError(f"{file}: not a complete tar archive ({error}): pack it again, without compression") from error


def _of_parquet(file: Path) -> Iterator[tuple[str, PackedImage]]:
    try:
        table = pyarrow().parquet.ParquetFile(file)
        columns = table.schema_arrow.names
        image = next((name for name in IMAGE_COLUMNS if name in columns), None)
        if image is None:
            raise ValueError(f"{file} has the columns {', '.join(columns)}: expected one of {', '.join(IMAGE_COLUMNS)}")
        named = next((name for name in ID_COLUMNS if name in columns), None)
        number = 0
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            ids = table.read_row_group(group, [named])[named].to_pylist() if named else [None] * rows
            for row, given in enumerate(ids):
                own = str(given) if given not in (None, "") else f"{file.stem}_{number:08d}"
                stem, suffix = os.path.splitext(own)
                own = stem if suffix.lower() in IMAGE_SUFFIXES else own
                yield own, ParquetImage(str(file), image, group, row, os.path.basename(own))
                number += 1
    except (ArithmeticError, LookupError, OSError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{file}: not a complete parquet file ({reason}): export it again") from error


@functools.lru_cache(maxsize=2)
def _cells(table: str, column: str, group: int) -> list[Any]:
    """A column of one row group; images come in the table's order, so that each group is read once."""
    return pyarrow().parquet.ParquetFile(table).read_row_group(group, [column])[column].to_pylist()
