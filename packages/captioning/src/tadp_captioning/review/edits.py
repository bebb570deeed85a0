"""Which captions are reviewed first, and what becomes of them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

from tadp_captioning.caption_store import CaptionStore
from tadp_captioning.records import CaptionRecord
from tadp_captioning.stats import DEFECTS, caption_stats

PER_PAGE = 30


class CaptionReview:
    """The captions of a store that was opened, those with a defect first; several requests may come at once."""

    def __init__(self, store: CaptionStore, images: Mapping[str, Any] | None = None):
        """`images`: {id: image}, files or `packed_images`; None: the files that the records name as their source."""
        self.store = store
        self._images = images
        self._lock = Lock()
        self.flags: dict[str, list[str]] = {}
        """{id: its defects}, of `tadp captions stats`, in the order of the defects."""
        flagged = caption_stats(store).flagged
        for name in DEFECTS:
            for image_id in flagged[name]:
                self.flags.setdefault(image_id, []).append(name)
        self.order = [*self.flags, *(record.id for record in store.records() if record.id not in self.flags)]

    @property
    def pages(self) -> int:
        """At least one."""
        return max(1, -(-len(self.order) // PER_PAGE))

    def page(self, number: int) -> list[CaptionRecord]:
        """The records of a page, counted from 1."""
        ids = self.order[PER_PAGE * (number - 1) : PER_PAGE * number]
        return [record for image_id in ids if (record := self.store.get(image_id)) is not None]

    def image(self, image_id: str) -> Any:
        """The captioned file, or image inside one; None where it is not there."""
        if self._images is not None:
            return self._images.get(image_id)
        record = self.store.get(image_id)
        if record is None or self.store.path is None or not record.source:
            return None
        file = Path(self.store.path).parent / record.source
        return file if file.is_file() else None

    def edit(self, image_id: str, caption: str) -> CaptionRecord:
        """Keep a person's caption, in the file before this returns.

        The record stays that of its captioner and content, so that `caption_images` leaves it alone.
        """
        text = " ".join(caption.split())
        with self._lock:
            record = self.store.get(image_id)
            if record is None:
                raise ValueError(f"no caption for image {image_id!r}")
            if not text:
                raise ValueError(f"the caption of {image_id!r} is empty: expected a text")
            kept = {key: value for key, value in record.with_caption(text).extra.items() if key != "error"}
            edited = replace(record, caption=text, extra={**kept, "edited": True})
            self.store.add(edited)
        return edited
