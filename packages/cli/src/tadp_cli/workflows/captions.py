"""Captions of a data set: read from a file, or written by a captioner into one."""

from collections.abc import Callable
from pathlib import Path

from tadp_captioning import CaptionStore, Progress, caption_images, load_captioner
from tadp_heads.data import SampleDataset


def captions_of(
    dataset: SampleDataset,
    file: Path | None,
    *,
    captioner: str,
    written_to: Path,
    device: str = "cpu",
    progress: Callable[[Progress], None] | None = None,
) -> CaptionStore:
    """The captions in `file`, which must have all of the data set's images; without a file they are written now."""
    if file is not None:
        store = CaptionStore.read(file)
        missing = store.missing(dataset.ids)
        if missing:
            raise ValueError(
                f"{file} has no caption for {len(missing)} of {len(dataset.ids)} images, such as {missing[0]!r}: "
                "caption them with `tadp caption`, or name the file of this data set"
            )
        return store
    store = CaptionStore.open(written_to)
    files = dataset.image_files
    report = caption_images(
        load_captioner(captioner, device=device), {key: files[key] for key in dataset.ids}, store, progress=progress
    )
    if report.failed:
        image_id, reason = next(iter(report.failed.items()))
        raise ValueError(f"{len(report.failed)} images could not be captioned, such as {image_id!r}: {reason}")
    return store
