"""Boxes found in overlapping windows, as those of the whole image."""

from collections.abc import Sequence

import numpy as np
import torch

from tadp_heads.detection.detections import Detections
from tadp_heads.tiling.windows import Window

# N boxes, W windows.

_SHARED = 0.5
"""Share of the smaller box inside the larger one from which both are parts of one object."""


def merge_windows(found: Sequence[Detections], windows: Sequence[Window]) -> Detections:
    """Detections in pixels of their windows -> one list in pixels of the image, the surest first.

    Two boxes of one class from different windows, of which the smaller lies in the other by at least _SHARED, are one
    object that a window's edge has cut. It gets the box around both and the higher score.
    """
    shifts = [torch.tensor([w.left, w.top, w.left, w.top], dtype=torch.float32) for w in windows]
    boxes = torch.cat([one["boxes"].cpu() + shift for one, shift in zip(found, shifts, strict=True)])
    scores, labels = (torch.cat([one[key].cpu() for one in found]) for key in ("scores", "labels"))
    sources = torch.cat([torch.full((len(one["scores"]),), number) for number, one in enumerate(found)])
    order = scores.argsort(descending=True, stable=True)
    near = _overlapping(windows)
    rows, merged = [], []
    for label in labels.unique().tolist():
        of_class = order[labels[order] == label]
        kept, around = _merge_class(boxes[of_class].numpy(), sources[of_class].tolist(), near)
        rows.append(of_class[kept])
        merged.append(torch.from_numpy(around))
    if not rows:
        return Detections(boxes=boxes, scores=scores, labels=labels)
    kept_rows = torch.cat(rows)
    again = scores[kept_rows].argsort(descending=True, stable=True)
    return Detections(boxes=torch.cat(merged)[again], scores=scores[kept_rows][again], labels=labels[kept_rows][again])


def _merge_class(
    boxes: np.ndarray, sources: Sequence[int], near: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) boxes, the surest first, and (N,) their windows -> indices of those that stay, and their merged boxes.

    `near`: of each window, the others that overlap it.
    """
    merged = np.empty_like(boxes)
    kept: list[int] = []
    found_in: list[set[int]] = [set() for _ in near]  # of each window, places in `kept`
    for number, (box, source) in enumerate(zip(boxes, sources, strict=True)):
        # Two boxes of one window are two objects to the detector, however much they overlap.
        candidates = sorted(set().union(*(found_in[window] for window in near[source])) - found_in[source])
        inside = _share_of_smaller(box, merged[candidates])
        if candidates and inside.max() >= _SHARED:
            at = candidates[int(inside.argmax())]
            merged[at] = [*np.minimum(merged[at, :2], box[:2]), *np.maximum(merged[at, 2:], box[2:])]
        else:
            at = len(kept)
            kept.append(number)
            merged[at] = box
        found_in[source].add(at)
    return np.array(kept), merged[: len(kept)]


def _overlapping(windows: Sequence[Window]) -> list[list[int]]:
    """Of each window, the indices of the others that have pixels in common with it."""
    top, left, bottom, right = np.array(windows).T
    apart = (bottom[:, None] <= top) | (right[:, None] <= left)
    together = ~(apart | apart.T)
    np.fill_diagonal(together, False)
    return [np.flatnonzero(row).tolist() for row in together]


def _share_of_smaller(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(N,): intersection of one box with others, over the smaller area of the two."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    common = (high - low).clip(min=0).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    return common / np.minimum(areas, (box[2:] - box[:2]).prod()).clip(min=1e-9)
