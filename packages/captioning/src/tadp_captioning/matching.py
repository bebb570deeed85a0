"""Which caption belongs to which image file, where ids come from another folder than the data set's."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

from tadp_captioning.caption_store import CaptionStore
from tadp_captioning.records import CaptionRecord, image_key


def captions_of_files(store: CaptionStore, files: Mapping[str, Path]) -> CaptionStore:
    """The records of these images under the ids of `files`; images without one are left out.

    A record is found by the longest end of the file's path that is an id of the store, so that the captions of a
    folder serve its subfolders, and of two images with one name each finds its own.
    """
    known = {record.id.lstrip("/"): record.id for record in store.records()}
    known = {image_key(key): record_id for key, record_id in known.items()} | known
    found = ((image_id, _record(store, known, image_id, file)) for image_id, file in files.items())
    return CaptionStore(replace(record, id=image_id) for image_id, record in found if record is not None)


def of_other_content(store: CaptionStore, files: Mapping[str, Path]) -> list[str]:
    """Ids whose caption was made from another file content than the image has now; records without a hash pass."""
    known = {image_id: store.record(image_id).extra.get("hash") for image_id in files if image_id in store}
    asked = {image_id: known[image_id] for image_id in known if isinstance(known[image_id], str) and known[image_id]}
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(lambda image_id: content_hash(files[image_id]), asked)
        return [image_id for image_id, now in zip(asked, hashes, strict=True) if now not in (asked[image_id], "")]


def content_hash(file: Any) -> str:
    """First 16 hex digits of the SHA-256 of a file, or of an image inside one; "" where it cannot be read."""
    try:
        if not isinstance(file, Path):
            return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()[:16]
    except (OSError, ValueError):
        return ""


def free_id(store: CaptionStore, image_id: str, file: Path, digest: str) -> str:
    """The id under which the image's caption is kept: the one given, or where another file has it a longer one.

    An id is taken by a record of other content that was not made from this very file (which may have been changed).
    """
    for candidate in (image_id, *_longer(image_id, file)):
        record = store.get(candidate)
        if record is None or record.extra.get("hash") in (digest, None) or made_from(store, record, file):
            return candidate
    raise ValueError(f"{file}: every id that its path gives has the caption of another image in {store.path}")


def source_of(store: CaptionStore, file: Path) -> str:
    """The file's path below the folder of the captions, or its name where they are in no file."""
    if store.path is None:
        return file.name
    return PurePath(os.path.relpath(os.path.abspath(file), os.path.abspath(store.path.parent))).as_posix()


def made_from(store: CaptionStore, record: CaptionRecord, file: Path) -> bool:
    """Whether the record's source is this file."""
    return record.source == source_of(store, file)


def _longer(image_id: str, file: Path) -> Iterator[str]:
    """The id behind ever more of the folders that hold it."""
    parts = PurePath(os.path.abspath(file)).parts
    above = parts[1 : len(parts) - len(PurePath(image_id).parts)]  # without the root
    for count in range(1, len(above) + 1):
        yield "/".join((*above[-count:], image_id))


def _record(store: CaptionStore, known: Mapping[str, str], image_id: str, file: Path) -> CaptionRecord | None:
    found = list(_candidates(store, known, image_id, file))
    if len(found) > 1:
        digest = content_hash(file)
        return next((record for record in found if record.extra.get("hash") == digest), found[0])
    return found[0] if found else None


def _candidates(store: CaptionStore, known: Mapping[str, str], image_id: str, file: Path) -> Iterator[CaptionRecord]:
    """Records whose id is an end of the file's path no shorter than its own id, longest first; else any shorter one."""
    parts = PurePath(os.path.abspath(file)).parts[1:]
    ends = ["/".join(parts[-count:]) for count in range(len(parts), 0, -1)]
    ids = dict.fromkeys(known.get(end) or known.get(image_key(end)) for end in ends)
    own = image_id.strip("/").count("/")
    long_enough = [record_id for record_id in ids if record_id and record_id.strip("/").count("/") >= own]
    if not long_enough and image_id in store:
        yield store.record(image_id)
        return
    shorter = [record_id for record_id in ids if record_id]
    yield from (store.record(record_id) for record_id in long_enough or shorter[:1])
