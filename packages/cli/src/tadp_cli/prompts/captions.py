"""Captions of a data set: read from a file, or written by a captioner into one."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tadp_captioning import Captioner, CaptionStore, LoopReport, Progress, caption_images, captioner_on_demand
from tadp_captioning.matching import captions_of_files, of_other_content
from tadp_captioning.records import image_key
from tadp_captioning.text_files import read_text
from tadp_cli.config.default_models import naming_tiny
from tadp_cli.prompts.authors import read_captions
from tadp_heads.data import SampleDataset

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who captions the images of a command, and how; the model is loaded for the first one that lacks a caption."""

    captioner: str
    min_tokens: int = 0
    max_tokens: int = 77
    prompt: str = ""
    device: str = "cpu"

    @cached_property
    def model(self) -> Captioner:
        """One for all data sets."""
        asked: dict[str, Any] = {"min_new_tokens": self.min_tokens, "max_new_tokens": self.max_tokens}
        with naming_tiny(self.captioner, "--set data.captioner=tiny"):
            return captioner_on_demand(self.captioner, device=self.device, **asked, prompt=self.prompt or None)


def captions_of(
    dataset: SampleDataset,
    file: Path | None,
    author: Author,
    *,
    written_to: Path,
    progress: Callable[[Progress], None] | None = None,
) -> CaptionStore:
    """The captions in `file`, which must have all of the data set's images; without a file those that `written_to`
    lacks are written now.

    Of a file with captions by several authors, those by this one's captioner are taken.
    Where `written_to` lies in a folder that cannot be written to, they are made for this call alone.
    """
    known = dataset.image_files
    files = {image_id: known[image_id] for image_id in dataset.ids}
    if file is not None:
        return _given(file, files, author.captioner)
    store = _open(written_to)
    report = caption_images(author.model, files, store, progress=progress)
    if report.failed:
        image_id, reason = next(iter(report.failed.items()))
        raise ValueError(f"{len(report.failed)} images could not be captioned, such as {image_id!r}: {reason}")
    return captions_of_files(store, files)


def _open(file: Path) -> CaptionStore:
    there = next(place for place in (file, *file.parents) if place.exists())
    if os.access(there, os.W_OK):
        return CaptionStore.open(file)
    log.warning("%s cannot be written to: captions are generated for this call and not stored", there)
    return CaptionStore(CaptionStore.read(file).records()) if file.exists() else CaptionStore()


def _given(file: Path, files: Mapping[str, Path], author: str) -> CaptionStore:
    """The captions of these images in a user's file, each made from this very image."""
    store = captions_of_files(read_captions(file, author), files)
    missing = store.missing(files)
    if missing:
        raise ValueError(
            f"{file} has no caption for {len(missing)} of {len(files)} images, such as {missing[0]!r}: "
            "caption them with `tadp caption`, or name the file of this data set"
        )
    others = of_other_content(store, files)
    if others:
        raise ValueError(
            f"{file}: {len(others)} of {len(files)} captions were made from other images of the same names, such as "
            f'{others[0]!r}: caption this data set with `tadp caption`, or remove "hash" from the lines of images '
            "that were only saved anew"
        )
    return store


def whole_report(reports: list[LoopReport]) -> LoopReport:
    """All processes' reports as one."""
    failed = {image_id: reason for report in reports for image_id, reason in report.failed.items()}
    return LoopReport(sum(r.captioned for r in reports), sum(r.skipped for r in reports), failed)


def flagged_images(file: Path, images: Mapping[str, Path]) -> dict[str, Path]:
    """Those of the images whose ids a file of `tadp captions stats --flag` holds, one per line."""
    if not file.is_file():
        raise ValueError(f"{file}: no such file; `tadp captions stats --flag {file}` writes it")
    by_key = {image_key(image_id): image_id for image_id in images}
    wanted = [line for line in read_text(file).splitlines() if line]
    unknown = [image_id for image_id in wanted if image_key(image_id) not in by_key]
    if unknown:
        raise ValueError(f"{file}: no image {unknown[0]!r} among the {len(images)} of the data; name the same data")
    return {by_key[image_key(image_id)]: images[by_key[image_key(image_id)]] for image_id in wanted}
