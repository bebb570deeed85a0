"""Pascal VOC's average precision (devkits of 2007 and 2012), and as the paper's code computes it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from tadp_heads.data.sample import DetectionTarget

# N detections, M objects, K classes; rows of tables: image, label, box (4), then score or difficult
Summary = Callable[[np.ndarray, np.ndarray], float]
"""Recall and precision after each detection -> average precision."""


def average_precision(
    detected: np.ndarray, truth: np.ndarray, classes: int, thresholds: Sequence[float], *, summary: Summary
) -> np.ndarray:
    """(thresholds, classes) in [0, 1]; nan for a class without an object that is not difficult."""
    table = np.full((len(thresholds), classes), np.nan)
    for label in range(classes):
        ours, theirs = detected[detected[:, 1] == label], truth[truth[:, 1] == label]
        difficult = theirs[:, 6] > 0
        wanted = int((~difficult).sum())
        if not wanted:
            continue
        ours = ours[np.argsort(-ours[:, 6], kind="stable")]
        overlap, best = _best_matches(ours, theirs)
        for row, threshold in enumerate(thresholds):
            hit = overlap > threshold
            counts = ~(hit & difficult[best]) if len(theirs) else np.ones(len(ours), dtype=bool)
            true = _first_hits(best, hit)[counts].cumsum()
            table[row, label] = summary(true / wanted, true / np.arange(1, len(true) + 1))
    return table


def as_published(
    detected: np.ndarray, truth: np.ndarray, classes: int, thresholds: Sequence[float], *, summary: Summary
) -> np.ndarray:
    """What the paper's code computes of boxes with the numbers of VOC's XML files (docs/reference.md, section 3).

    Its evaluator takes predictions for 0-based ones and moves their left and top edge by 1, although it trained on the
    files' own numbers; writes boxes with one decimal and scores with three; counts the last pixel of a box as within.
    """
    detected, truth = detected.copy(), truth.copy()
    detected[:, 2:4] += 1
    detected[:, 2:6] = np.char.mod("%.1f", detected[:, 2:6]).astype(float)
    detected[:, 6] = np.char.mod("%.3f", detected[:, 6]).astype(float)
    detected[:, 4:6] += 1
    truth[:, 4:6] += 1
    return average_precision(detected, truth, classes, thresholds, summary=summary)


def xml_boxes(target: DetectionTarget) -> Tensor:
    """(N, 4) the target's boxes with the numbers of VOC's XML files, for `as_published`; as they are where no reader
    says what they count from."""
    boxes = target["boxes"].as_subclass(Tensor)
    shift = 0 if target.get("xml_frame", True) else 1
    return torch.cat([boxes[:, :2] + shift, boxes[:, 2:]], dim=1)


def eleven_points(recall: np.ndarray, precision: np.ndarray) -> float:
    """The mean, over recalls 0, 0.1, ... 1, of the best precision at that recall or above (VOC 2007)."""
    levels = np.arange(11) * 0.1  # inexact as in the devkits: 3 * 0.1 > 0.3, so a recall of 3/10 does not reach it
    return float(np.mean([precision[recall >= level].max(initial=0) for level in levels]))


def area(recall: np.ndarray, precision: np.ndarray) -> float:
    """The area under the precision made to fall monotonically (VOC 2010 to 2012)."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0) * envelope))


def _best_matches(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each detection: its largest overlap with an object of its image, -1 without one, and that object's index."""
    overlap, best = np.full(len(ours), -1.0), np.zeros(len(ours), dtype=np.int64)
    for image in np.unique(ours[:, 0]):
        here, objects = np.flatnonzero(ours[:, 0] == image), np.flatnonzero(theirs[:, 0] == image)
        if len(objects):
            iou = _iou(ours[here, 2:6], theirs[objects, 2:6])
            overlap[here], best[here] = iou.max(axis=1), objects[iou.argmax(axis=1)]
    return overlap, best


def _first_hits(best: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Of each detection, in order of score: whether it is the first to hit its object."""
    first = np.zeros(len(best), dtype=bool)
    hits = np.flatnonzero(hit)
    first[hits[np.unique(best[hits], return_index=True)[1]]] = True
    return first


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, 4) and (M, 4) XYXY -> (N, M)."""
    corner = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])  # (N, M, 2)
    common = corner.clip(min=0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    return common / (areas[0][:, None] + areas[1][None] - common)
