"""Segmentation of a large image row by row: logits are kept at the head's resolution, while windows need them."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tadp_heads.tiling.windows import Window, feather, rows_of_windows

# B windows of a batch, K classes, H W image pixels, h w cells of the head's logits: stride pixels each.

WindowLogits = Callable[[Sequence[Window]], Tensor]
"""Windows of one size -> logits (B, K, h, w), h and w the windows' sides over the stride, rounded up."""
_STRIP_BYTES = 128 << 20
"""Of logits that are brought to pixels at once."""


def segment_rows(
    logits_of: WindowLogits,
    size: tuple[int, int],
    *,
    side: int,
    overlap: int,
    stride: int,
    batch_size: int = 4,
    confidence: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Yield ids (n, W) uint8 of the image's rows from top to bottom, n rows at a time, and the probability of each
    pixel's class, (n, W) float16, or None where no `confidence` is asked for.

    `size`: (H, W). Windows of `side` pixels overlap by `overlap`, where their logits are averaged with weights that
    fall towards the windows' edges. `side` and `overlap` are multiples of `stride`: all windows lie on one grid of
    cells, the last ones after the image was filled up to it. Memory: the logits of one row of windows.
    """
    height, width = size
    if side % stride or overlap % stride:
        raise ValueError(f"windows of {side} pixels that overlap by {overlap}: expected multiples of {stride}")
    rows = rows_of_windows(_padded(height, stride), _padded(width, stride), side, overlap)
    done, total, shown = 0, sum(map(len, rows)), 0
    band = _Band(first=0, cells_wide=_padded(width, stride) // stride)
    for number, row in enumerate(rows):
        for start in range(0, len(row), batch_size):
            part = row[start : start + batch_size]
            band.add(part, logits_of(part).float().cpu(), stride, overlap // stride)
            done += len(part)
            progress(done, total)
        is_last = number + 1 == len(rows)
        # Pixels up to half a cell above the next row of windows do not change any more.
        following = height if is_last else (rows[number + 1][0].top // stride - 1) * stride + stride // 2
        step = band.rows_at_once(width)
        for top in range(shown, following, step):
            yield band.pixels(top, min(top + step, following), width, stride, confidence)
        shown = max(shown, following)
        if not is_last:
            band.move(max(0, rows[number + 1][0].top // stride - 1))


class _Band:
    """Weighted sums of logits of a few rows of cells, from row `first` on."""

    def __init__(self, first: int, cells_wide: int):
        self.first, self.cells_wide = first, cells_wide
        self.sums = torch.zeros(0, 0, cells_wide)
        """(K, rows, w); K is known from the first windows on."""
        self.weights = torch.zeros(0, cells_wide)

    def add(self, windows: Sequence[Window], logits: Tensor, stride: int, margin: int) -> None:
        """Logits (B, K, h, w) of windows of one size."""
        if not len(self.sums):
            self.sums = logits.new_zeros(logits.shape[1], 0, self.cells_wide)
        weight = feather(logits.shape[2], logits.shape[3], margin)
        for window, one in zip(windows, logits, strict=True):
            top, left = window.top // stride - self.first, window.left // stride
            if (missing := top + one.shape[1] - self.sums.shape[1]) > 0:
                self.sums = F.pad(self.sums, (0, 0, 0, missing))
                self.weights = F.pad(self.weights, (0, 0, 0, missing))
            place = (slice(top, top + one.shape[1]), slice(left, left + one.shape[2]))
            self.sums[:, place[0], place[1]] += one * weight
            self.weights[place] += weight

    def move(self, first: int) -> None:
        """Forget the rows of cells above `first`."""
        self.sums = self.sums[:, first - self.first :].clone()
        self.weights = self.weights[first - self.first :].clone()
        self.first = first

    def rows_at_once(self, width: int) -> int:
        return max(1, _STRIP_BYTES // (4 * self.sums.shape[0] * width))

    def pixels(self, top: int, bottom: int, width: int, stride: int, confidence: bool) -> tuple[Tensor, Tensor | None]:
        """Rows of pixels, bilinear between the centres of cells."""
        rows = torch.arange(top, bottom, dtype=torch.float32)
        place = ((rows + 0.5) / stride - 0.5 - self.first).clamp(0, self.sums.shape[1] - 1)
        upper = place.floor().long()
        lower = (upper + 1).clamp(max=self.sums.shape[1] - 1)
        share = (place - upper)[None, :, None]
        mixed = self._mean(upper) * (1 - share) + self._mean(lower) * share  # (K, n, w)
        wide = F.interpolate(mixed, scale_factor=float(stride), mode="linear", align_corners=False)[..., :width]
        highest, ids = wide.max(0)
        sure = (highest - wide.logsumexp(0)).exp().half() if confidence else None
        return ids.to(torch.uint8), sure

    def _mean(self, rows: Tensor) -> Tensor:
        return self.sums[:, rows] / self.weights[rows]


def _padded(length: int, stride: int) -> int:
    return -(-length // stride) * stride
