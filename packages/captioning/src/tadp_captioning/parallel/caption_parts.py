"""Captioning by workers that share no file: each gets parts of the images, one process keeps the captions."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tadp_captioning.base import Captioner
from tadp_captioning.caption_dataset import caption_images
from tadp_captioning.caption_store import CaptionStore
from tadp_captioning.matching import free_id, source_of
from tadp_captioning.records import CaptionRecord


class ImageJob(NamedTuple):
    """One image to be captioned."""

    id: str
    image: Any
    """A file, or an image inside a larger one (`packed_images`)."""
    known: CaptionRecord | None
    """Its caption so far: none is made where the content, the captioner and its settings are the same."""


def image_jobs(images: Mapping[str, Any], store: CaptionStore, redo: Collection[str] = ()) -> Iterator[ImageJob]:
    """A job per image, with the caption that the store has of it; of ids in `redo` none."""
    for image_id, image in images.items():
        record = store.record(image_id) if image_id in store and image_id not in redo else None
        known = None if record is None or record.error is not None else replace(record, id=image_id, source=image.name)
        yield ImageJob(image_id, image, known)


class PartCaptioner:
    """A worker: captions the images of a part as `caption_images` does."""

    def __init__(self, captioner: Captioner):
        self.captioner = captioner

    def __call__(self, jobs: Sequence[ImageJob]) -> list[CaptionRecord]:
        """The new records, of images that failed too; none of images whose caption is known."""
        store = CaptionStore(job.known for job in jobs if job.known is not None)
        caption_images(self.captioner, {job.id: job.image for job in jobs}, store)
        records = (store.get(job.id) for job in jobs)
        return [new for new, job in zip(records, jobs, strict=True) if new is not None and new is not job.known]


def add_part(
    store: CaptionStore, images: Mapping[str, Any], records: Sequence[CaptionRecord], redo: Collection[str] = ()
) -> list[CaptionRecord]:
    """Add a worker's new records to the store, each under the id that is free for its image, and return them.

    What the store has got meanwhile, under a longer id for instance, is not added once more.
    """
    new = []
    for record in records:
        image = images[record.id]
        own = free_id(store, record.id, image, record.extra["hash"])
        if record.id in redo or not _is_same(store.get(own), record):
            new.append(replace(record, id=own, source=source_of(store, image)))
    store.add(*new)
    return new


def _is_same(one: CaptionRecord | None, other: CaptionRecord) -> bool:
    """Whether both were made of the same content by the same captioner in the same way, and neither failed."""
    if one is None or one.error is not None or other.error is not None:
        return False
    made = [(record.captioner, record.params, record.extra.get("hash")) for record in (one, other)]
    return made[0] == made[1]
