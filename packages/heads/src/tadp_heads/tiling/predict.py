"""Large images in overlapping windows: masks are written row by row, boxes merged."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tadp_heads.atomic_files import replacing
from tadp_heads.data.sample import Color
from tadp_heads.model import PerceptionModel
from tadp_heads.overlay import draw_mask
from tadp_heads.preprocessing import RANGES, pad_to_multiple
from tadp_heads.result_files import save_png
from tadp_heads.results import DetectionResult, SegmentationResult
from tadp_heads.tiling.boxes import merge_windows
from tadp_heads.tiling.row_files import ROW_FILES, RowWriter, TiffRows, TiffTag
from tadp_heads.tiling.segmentation import WindowLogits, segment_rows
from tadp_heads.tiling.windows import Window, rows_of_windows

# B windows of a batch, T tokens, D width of the context, H W image pixels.

ContextOf = Callable[[Sequence[Image.Image]], Tensor | None]
"""Crops of the image -> (B, T, D)."""
Progress = Callable[[int, int], None]
_OVERLAY = 2048
"""Longest side in pixels of the overlay."""
_BAND_BYTES = 1 << 29
"""Of the logits of one row of windows; where they would take more, they are averaged over 2 x 2 cells, or 4 x 4."""
_WINDOW_BYTES = 1 << 28
"""Of the logits of a batch of windows."""


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """How a large image is predicted."""

    side: int
    """Of the windows, in pixels."""
    overlap: int
    """Of neighbouring windows, in pixels."""
    batch_size: int = 4
    mask: str = "png"
    """One of ROW_FILES."""

    def check(self, model: PerceptionModel) -> None:
        """Raise ValueError where the model cannot be used so."""
        if model.config.task not in ("segmentation", "detection"):
            raise ValueError(f"a model for {model.config.task}: windows are for segmentation and detection")
        if self.mask not in ROW_FILES:
            raise ValueError(f"mask files of the kind {self.mask!r}: expected {' or '.join(ROW_FILES)}")
        multiple = model.size_multiple
        if self.side < multiple or self.side % multiple:
            raise ValueError(
                f"windows of {self.side} pixels: expected a multiple of {multiple}, such as {8 * multiple}"
            )
        if not 0 <= self.overlap <= self.side // 2:
            raise ValueError(f"an overlap of {self.overlap} pixels: expected at most half of the windows' {self.side}")


@torch.no_grad()
def write_tiled_mask(
    model: PerceptionModel,
    image: Image.Image,
    context_of: ContextOf,
    tiling: Tiling,
    place: Path,
    *,
    confidence: bool = False,
    tags: Mapping[int, TiffTag] | None = None,
    progress: Progress = lambda done, total: None,
) -> None:
    """PLACE_mask.png or .tiff, PLACE_confidence likewise, and a smaller PLACE_overlay.png, which is written last.

    The pixels are those of averaged logits, as a window alone would have them far from its edges. `tags`: of TIFF
    files, see `georeference`.
    """
    pixels = np.asarray(image)
    step = -(-max(image.size) // _OVERLAY)
    shown: list[np.ndarray] = []
    with _row_files(place, image, model, tiling, confidence, tags or {}) as files:
        done = 0
        for ids, sure in _rows(model, pixels, context_of, tiling, confidence, progress):
            files[0].write(ids.numpy())
            if sure is not None:
                files[1].write((sure.float() * 255).round().byte().numpy())
            shown.append(ids[-done % step :: step, ::step].numpy())
            done += len(ids)
    overlay = draw_mask(overlay_image(image), torch.from_numpy(np.concatenate(shown)).long(), model.config.palette)
    save_png(overlay, _named(place, "overlay.png"))


def overlay_image(image: Image.Image) -> Image.Image:
    """The image in the size of its overlay: at most 2048 pixels long."""
    step = -(-max(image.size) // _OVERLAY)
    return image if step == 1 else image.resize((-(-image.width // step), -(-image.height // step)))


@contextmanager
def _row_files(
    place: Path,
    image: Image.Image,
    model: PerceptionModel,
    tiling: Tiling,
    confidence: bool,
    tags: Mapping[int, TiffTag],
) -> Iterator[list[RowWriter]]:
    """The mask's file, and the confidence's; they take their names when both are whole."""
    palettes: dict[str, tuple[Color, ...]] = {"mask": model.config.palette} | ({"confidence": ()} if confidence else {})
    with ExitStack() as stack:
        writers: list[RowWriter] = []
        for name, palette in palettes.items():
            partial = stack.enter_context(replacing(_named(place, f"{name}.{tiling.mask}")))
            file = stack.enter_context(partial.open("wb"))
            writer = ROW_FILES[tiling.mask](file, *image.size, palette)
            if isinstance(writer, TiffRows):
                writer.more = tags
            writers.append(writer)
        yield writers
        for writer in writers:
            writer.close()


@torch.no_grad()
def tiled_mask(
    model: PerceptionModel,
    image: Image.Image,
    context_of: ContextOf,
    tiling: Tiling,
    *,
    confidence: bool = False,
    progress: Progress = lambda done, total: None,
) -> SegmentationResult:
    """The mask in memory, 1 byte per pixel and 2 for the confidence (float16), for objects of the whole image."""
    rows = [*_rows(model, np.asarray(image), context_of, tiling, confidence, progress)]
    sure = torch.cat([part for _, part in rows if part is not None]) if confidence else None
    return SegmentationResult(
        image=image,
        ids=torch.cat([ids for ids, _ in rows]),
        names=model.config.classes,
        palette=model.config.palette,
        confidence=sure,
    )


@torch.no_grad()
def tiled_boxes(
    model: PerceptionModel,
    image: Image.Image,
    context_of: ContextOf,
    tiling: Tiling,
    progress: Progress = lambda done, total: None,
) -> DetectionResult:
    """The objects of all windows, those that a window's edge has cut put together."""
    windows = [w for row in rows_of_windows(image.height, image.width, tiling.side, tiling.overlap) for w in row]
    found = []
    for start in range(0, len(windows), tiling.batch_size):
        part = windows[start : start + tiling.batch_size]
        crops = [image.crop((w.left, w.top, w.right, w.bottom)) for w in part]
        tensors = [torch.from_numpy(np.array(crop)).permute(2, 0, 1) for crop in crops]
        found += model.predict_tensors(tensors, context_of(crops), batch_size=len(part))
        progress(len(found), len(windows))
    merged = merge_windows(found, windows)
    return DetectionResult(image=image, **merged, names=model.config.classes, palette=model.config.palette)


def window_logits(model: PerceptionModel, pixels: np.ndarray, context_of: ContextOf) -> WindowLogits:
    """Of an image (H, W, 3): windows of one size -> the head's logits (B, K, h, w), which also cover what windows are
    padded with, right and bottom, to the model's `size_multiple`."""
    model.eval()
    normalise = RANGES[model.config.image_range]

    @torch.no_grad()
    def logits_of(windows: Sequence[Window]) -> Tensor:
        crops = [_crop(pixels, window) for window in windows]
        context = context_of([Image.fromarray(crop) for crop in crops])
        if context is not None:
            context = context.to(model.device)
        images = torch.stack([torch.from_numpy(crop).permute(2, 0, 1) for crop in crops]).to(model.device)
        padded = pad_to_multiple(normalise(images), model.size_multiple)
        levels = model.extractor(images, context)(padded)
        return model.head(tuple(levels))

    return logits_of


def _rows(
    model: PerceptionModel,
    pixels: np.ndarray,
    context_of: ContextOf,
    tiling: Tiling,
    confidence: bool,
    progress: Progress,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """See `segment_rows`."""
    logits_of, size = window_logits(model, pixels, context_of), pixels.shape[:2]
    side = Window(0, 0, min(tiling.side, size[0]), min(tiling.side, size[1]))
    probe = logits_of([side])
    covered = -(-side.bottom // model.size_multiple) * model.size_multiple
    stride = covered // probe.shape[-2]
    if covered % probe.shape[-2] or tiling.overlap % stride:
        raise ValueError(f"an overlap of {tiling.overlap} pixels: expected a multiple of the head's {stride}")
    cell = _cell(stride, tiling, probe.shape[1], size[1])

    def cut(windows: Sequence[Window]) -> Tensor:
        height, width = windows[0].bottom - windows[0].top, windows[0].right - windows[0].left
        logits = logits_of(windows)[..., : height // stride, : width // stride]
        return logits if cell == stride else F.avg_pool2d(logits, cell // stride)

    yield from segment_rows(
        cut,
        size,
        side=tiling.side,
        overlap=tiling.overlap,
        stride=cell,
        batch_size=max(1, min(tiling.batch_size, _WINDOW_BYTES // (4 * probe[0].numel()))),
        confidence=confidence,
        progress=progress,
    )


def _cell(stride: int, tiling: Tiling, classes: int, width: int) -> int:
    """Pixels of a cell in which logits are kept: the head's `stride`, or a multiple by a power of two."""
    cell = stride
    while 4 * classes * (tiling.side + tiling.overlap) * width // cell**2 > _BAND_BYTES:
        if tiling.side % (2 * cell) or tiling.overlap % (2 * cell):
            break
        cell *= 2
    return cell


def _crop(pixels: np.ndarray, window: Window) -> np.ndarray:
    """(h, w, 3); a window that leaves the image by a part of a cell is filled up with the image's last pixels."""
    crop = pixels[window.top : window.bottom, window.left : window.right]
    below, right = window.bottom - window.top - crop.shape[0], window.right - window.left - crop.shape[1]
    return np.pad(crop, ((0, below), (0, right), (0, 0)), mode="edge")


def _named(place: Path, ending: str) -> Path:
    return place.with_name(f"{place.name}_{ending}")
