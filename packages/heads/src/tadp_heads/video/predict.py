"""A model on a video: per-frame results, the overlays as a video, and how much consecutive masks have in common."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from tadp_heads.atomic_files import replacing, write_json, write_text
from tadp_heads.model import PerceptionModel
from tadp_heads.results import Result
from tadp_heads.video.files import Frame, VideoFile, frame_count, frame_rate, read_frames
from tadp_heads.video.shots import ShotDetector

# B frames of a batch, T tokens, D width of the context, K classes, H W pixels.

FRAMES_FILE, SUMMARY_FILE, OVERLAY_FILE = "frames.csv", "summary.json", "overlay.mp4"
CAPTION_PER = ("shot", "frame")


class FrameText(NamedTuple):
    """What a context is asked for: one per shot, of its first frame, or one per frame."""

    id: str
    """Such as "shot_0003" or "frame_000123"."""
    image: Image.Image


ContextsOf = Callable[[Sequence[FrameText]], Tensor | None]
"""-> (B, T, D)."""
Progress = Callable[[int, int], None]
"""(frames done, frames as far as is known)."""
Write = Callable[[Result, str], None]
"""(result, name of the frame): all files of a frame, NAME_overlay.png the last."""


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How a video is predicted."""

    caption_per: str = "shot"
    """One of CAPTION_PER."""
    shot_threshold: float = 0.5
    """See `ShotDetector`."""
    batch_size: int = 8
    confidence: bool = False

    def __post_init__(self) -> None:
        if self.caption_per not in CAPTION_PER:
            raise ValueError(f"a caption per {self.caption_per!r}: expected one per {' or '.join(CAPTION_PER)}")


class _Row(NamedTuple):
    """What is kept of a frame while the video is read."""

    frame: int
    seconds: float
    shot: int


def predict_video(
    model: PerceptionModel,
    path: Path,
    folder: Path,
    contexts_of: ContextsOf,
    write: Write,
    options: VideoOptions,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """The files that `write` makes of each frame (those that are there already stay), overlay.mp4 of their overlays,
    frames.csv with time, shot and mIoU to the frame before, and summary.json, which is returned.

    Frames are streamed: memory does not grow with the video but for three numbers per frame.
    """
    rows: list[_Row] = []
    for batch, context in _batches(path, folder, contexts_of, options, rows, progress):
        results = model.predict_batch(
            [frame.image for frame in batch], None, len(batch), context, confidence=options.confidence
        )
        for frame, result in zip(batch, results, strict=True):
            write(result, frame_name(frame.number))
    common = _consistency(folder, rows)
    _write_overlays(folder, [frame_name(row.frame) for row in rows], frame_rate(path))
    _write_rows(folder / FRAMES_FILE, rows, common)
    known = [value for value in common if value is not None]
    summary = {
        "frames": len(rows),
        "shots": rows[-1].shot + 1 if rows else 0,
        "caption_per": options.caption_per,
        "consistency_miou": sum(known) / len(known) if known else None,
    }
    write_json(folder / SUMMARY_FILE, summary)
    return summary


def frame_name(number: int) -> str:
    """The beginning of a frame's file names."""
    return f"{number:06d}"


def miou_between(one: np.ndarray, other: np.ndarray) -> float:
    """Two masks (H, W) uint8 -> IoU in [0, 1], averaged over the classes that are in either."""
    pairs = np.bincount(one.ravel().astype(np.int64) * 256 + other.ravel(), minlength=256**2).reshape(256, 256)
    common = pairs.diagonal()
    either = pairs.sum(0) + pairs.sum(1) - common
    return float((common[either > 0] / either[either > 0]).mean())


def _batches(
    path: Path,
    folder: Path,
    contexts_of: ContextsOf,
    options: VideoOptions,
    rows: list[_Row],
    progress: Progress,
) -> Iterator[tuple[list[Frame], Tensor | None]]:
    """Frames of one shot that have no results yet, with their contexts (B, T, D); every frame goes into `rows`."""
    shots, length = ShotDetector(options.shot_threshold), frame_count(path)
    batch: list[Frame] = []
    first: FrameText | None = None  # of the shot
    of_shot: Tensor | None = None  # its context, once it is needed

    def with_context() -> tuple[list[Frame], Tensor | None]:
        nonlocal of_shot
        if options.caption_per == "frame":
            return batch, contexts_of([FrameText(f"frame_{frame_name(frame.number)}", frame.image) for frame in batch])
        if of_shot is None and first is not None:
            of_shot = contexts_of([first])
        return batch, None if of_shot is None else of_shot.expand(len(batch), -1, -1)

    for frame in read_frames(path):
        if shots.add(frame.image):
            if batch:
                yield with_context()
            batch, first, of_shot = [], FrameText(f"shot_{shots.shot:04d}", frame.image), None
        rows.append(_Row(frame.number, frame.seconds, shots.shot))
        if not _overlay(folder, frame_name(frame.number)).is_file():
            batch.append(frame)
        if len(batch) == options.batch_size:
            yield with_context()
            batch = []
        progress(len(rows), max(length, len(rows) + 1))
    if batch:
        yield with_context()
    progress(len(rows), len(rows))


def _consistency(folder: Path, rows: Sequence[_Row]) -> list[float | None]:
    """mIoU of each frame's mask with that of the frame before; None for a shot's first frame, and without masks."""
    found: list[float | None] = []
    before: np.ndarray | None = None
    shot = -1
    for row in rows:
        file = folder / f"{frame_name(row.frame)}_mask.png"
        mask: np.ndarray | None = None
        if file.is_file():
            with Image.open(file) as image:
                mask = np.asarray(image)
        if mask is not None and before is not None and row.shot == shot:
            found.append(miou_between(before, mask))
        else:
            found.append(None)
        before, shot = mask, row.shot
    return found


def _write_overlays(folder: Path, names: Sequence[str], rate: float) -> None:
    if not names:
        return
    with Image.open(_overlay(folder, names[0])) as image:
        size = image.size
    with replacing(folder / OVERLAY_FILE) as partial, VideoFile(partial, size, rate) as video:
        for name in names:
            with Image.open(_overlay(folder, name)) as image:
                video.add(image.convert("RGB"))


def _write_rows(path: Path, rows: Sequence[_Row], common: Sequence[float | None]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*_Row._fields, "miou_with_previous"])
    for row, value in zip(rows, common, strict=True):
        table.writerow([row.frame, f"{row.seconds:.3f}", row.shot, "" if value is None else f"{value:.4f}"])
    write_text(path, text.getvalue())


def _overlay(folder: Path, name: str) -> Path:
    return folder / f"{name}_overlay.png"
