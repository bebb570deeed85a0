"""Captioning a whole data set: images read ahead of the model, captions written as they come, resumable."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tadp_captioning.base import Captioner
from tadp_captioning.caption_store import CaptionStore
from tadp_captioning.chat_api.answer_text import NoCaption
from tadp_captioning.images import ReadImage, read_image
from tadp_captioning.matching import free_id, source_of
from tadp_captioning.records import CaptionRecord

if TYPE_CHECKING:
    from PIL.Image import Image


class Progress(NamedTuple):
    """Images of this process so far."""

    done: int
    """Captioned now, captioned before, or failed."""
    failed: int
    total: int


class LoopReport(NamedTuple):
    """What `caption_images` did, in images of this process."""

    captioned: int
    skipped: int
    """Had this caption already: same id, content, captioner and settings."""
    failed: dict[str, str]
    """By id, the reason."""


def caption_images(
    captioner: Captioner,
    images: Mapping[str, Any],
    store: CaptionStore,
    *,
    workers: int = 0,
    redo: Collection[str] = (),
    rank: int = 0,
    world_size: int = 1,
    progress: Callable[[Progress], None] | None = None,
) -> LoopReport:
    """Caption the images that the store lacks, and add each batch to the store in order.

    `images`: {id: file}, or images inside larger files (`packed_images`).

    While the model works on a batch, the next is prepared and those after it are read. A killed run loses the batch
    in flight and a rerun continues. An image that cannot be read is recorded with the reason and tried again by the
    next run. An image whose id has the caption of another file is kept under a longer id, with the folders above it
    (see `captions_of_files`). `workers` processes read and decode ahead (0: one thread). Ids in `redo` are captioned
    again. Of `world_size` processes that share a store's file, the one of `rank` takes every world_size-th image.
    """
    mine = dict(islice(images.items(), rank, None, world_size))
    jobs = ((image_id, path, _known_hash(image_id, captioner, store, redo)) for image_id, path in mine.items())
    captioned, skipped = 0, 0
    failed: dict[str, str] = {}
    waiting: list[ReadImage] = []  # read, to be prepared together
    ahead: deque[tuple[list[ReadImage], Future]] = deque()  # being prepared, or answered where several are at once
    at_once = getattr(captioner, "batches_at_once", 1)

    def tell() -> None:
        if progress is not None:
            progress(Progress(captioned + skipped + len(failed), len(failed), len(mine)))

    def begin(batch: list[ReadImage]) -> None:
        prepared = preparer.submit(captioner.prepare, _images(batch))
        ahead.append((batch, answerers.submit(_answered, captioner, prepared) if at_once > 1 else prepared))

    def finish(batch: list[ReadImage], prepared: Future) -> None:
        nonlocal captioned
        answers = prepared.result() if at_once > 1 else captioner.answer(prepared.result())
        records = list(_records(batch, answers, captioner, store))
        store.add(*records)
        failed.update({record.id: record.error for record in records if record.error is not None})
        captioned += sum(record.error is None for record in records)
        tell()

    with (
        _executor(workers) as readers,
        ThreadPoolExecutor(1) as preparer,
        ThreadPoolExecutor(at_once) as answerers,
    ):
        for read in _ahead(readers, jobs, depth=3 * captioner.batch_size + workers):
            asked = read.id in redo
            read = read._replace(id=free_id(store, read.id, read.path, read.hash))
            if read.error is not None:
                failed[read.id] = read.error
                store.add(_failure(read, captioner, store))
                tell()
            elif read.image is None or (not asked and _hash_of(store.get(read.id), captioner) == read.hash):
                skipped += 1
                tell()
            else:
                waiting.append(read)
            if len(waiting) >= captioner.batch_size:
                begin(waiting)
                waiting = []
            while len(ahead) > at_once:
                finish(*ahead.popleft())
        if waiting:
            begin(waiting)
        while ahead:
            finish(*ahead.popleft())
    return LoopReport(captioned, skipped, failed)


def _answered(captioner: Captioner, prepared: Future) -> list[str]:
    return captioner.answer(prepared.result())


def _images(batch: list[ReadImage]) -> list["Image"]:
    return [read.image for read in batch if read.image is not None]


def _known_hash(image_id: str, captioner: Captioner, store: CaptionStore, redo: Collection[str]) -> str | None:
    """The content hash under which this captioner has captioned the image already."""
    if image_id in redo or image_id not in store:
        return None
    return _hash_of(store.record(image_id), captioner)


def _hash_of(record: CaptionRecord | None, captioner: Captioner) -> str | None:
    """The content hash of a caption that this captioner made with these settings."""
    if record is None or record.error is not None:
        return None
    same = (record.captioner, record.params) == (captioner.name, captioner.params)
    return record.extra.get("hash") if same else None


def _executor(workers: int) -> Executor:
    # Not forked: a forked copy of a process with GPU and thread state may hang.
    if workers == 0:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _ahead(executor: Executor, jobs: Iterable[tuple[str, Path, str | None]], depth: int) -> Iterator[ReadImage]:
    """Results in order, with at most `depth` images read or being read that nobody took yet."""
    jobs = iter(jobs)
    pending: deque[Future[ReadImage]] = deque(executor.submit(read_image, *job) for job in islice(jobs, depth))
    while pending:
        result = pending.popleft().result()
        pending.extend(executor.submit(read_image, *job) for job in islice(jobs, 1))
        yield result


def _records(
    batch: list[ReadImage], captions: list[str], captioner: Captioner, store: CaptionStore
) -> Iterator[CaptionRecord]:
    for read, caption in zip(batch, captions, strict=True):
        yield CaptionRecord(
            id=read.id,
            caption=caption,
            captioner=captioner.name,
            params=captioner.params,
            source=source_of(store, read.path),
            extra={"hash": read.hash} | ({"error": caption.reason} if isinstance(caption, NoCaption) else {}),
        )


def _failure(read: ReadImage, captioner: Captioner, store: CaptionStore) -> CaptionRecord:
    return CaptionRecord(
        id=read.id,
        caption="",
        captioner=captioner.name,
        params=captioner.params,
        source=source_of(store, read.path),
        extra={"hash": read.hash, "error": read.error},
    )
