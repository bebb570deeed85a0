"""Compares the outputs of an exported model with the model's."""

# B images, M detections per image

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

from tadp_heads.detection.output import DetectionOutput
from tadp_heads.tasks import Output

TOLERANCES = {"fp32": 1e-3, "fp16": 5e-2}
"""Maximum absolute difference relative to the output's largest value (at least 1), by precision."""
UNMATCHED = {"fp32": 0.02, "fp16": 0.2}
"""Maximum share of detections without a counterpart: of two overlapping ones with nearly the same score, rounding
decides which one survives non-maximum suppression."""
_SAME_BOX = 0.9
"""Intersection over union from which two boxes of one class are counterparts."""


class Difference(NamedTuple):
    """The largest difference of one output."""

    name: str
    value: float
    """Largest absolute difference, in the output's unit; of "unmatched" a share in [0, 1]."""
    allowed: float

    @property
    def is_small(self) -> bool:
        """Whether it is allowed; a NaN is not."""
        return self.value <= self.allowed

    def __str__(self) -> str:
        return f"{self.name} {self.value:.2g} (allowed {self.allowed:.2g})"


def names_of(output: Output) -> tuple[str, ...]:
    """Names of the output's tensors, in order."""
    return tuple(type(output).__annotations__)


def differences(expected: Output, found: Sequence[Tensor], precision: str) -> list[Difference]:
    """For each tensor of the output, the difference of the exported model's from the model's, for the same images."""
    if isinstance(expected, DetectionOutput):
        return _of_detections(expected, DetectionOutput(*found), precision)
    return differences_of(names_of(expected), expected, found, precision)


def differences_of(
    names: Sequence[str], expected: Sequence[Tensor], found: Sequence[Tensor], precision: str = "fp32"
) -> list[Difference]:
    """Differences of tensors that are compared element by element."""
    pairs = zip(names, expected, found, strict=True)
    return [Difference(name, _largest(a - b), TOLERANCES[precision] * max(1.0, _largest(a))) for name, a, b in pairs]


def largest(of_batches: Sequence[Sequence[Difference]]) -> list[Difference]:
    """For each output, the difference over all batches with the largest ratio to what is allowed."""
    return [max(same, key=_excess) for same in zip(*of_batches, strict=True)]


def _of_detections(expected: DetectionOutput, found: DetectionOutput, precision: str) -> list[Difference]:
    scores, boxes, counts = [0.0], [0.0], [0, 0]
    for ours, theirs in zip(zip(*expected, strict=True), zip(*found, strict=True), strict=True):
        (box, score, label), (other_box, other_score, other_label) = _present(*ours), _present(*theirs)
        counts[0] += len(score) + len(other_score)
        overlap = box_iou(box, other_box) * (label[:, None] == other_label)
        if not overlap.numel():
            continue
        best = overlap.max(1)
        pairs = [(i, int(j)) for i, j in enumerate(best.indices) if best.values[i] >= _SAME_BOX]
        counts[1] += len(pairs) + int((overlap.amax(0) >= _SAME_BOX).sum())
        scores += [abs(float(score[i] - other_score[j])) for i, j in pairs]
        boxes += [float((box[i] - other_box[j]).abs().max()) for i, j in pairs]
    side = max(1.0, _largest(expected.boxes))
    return [
        Difference("boxes", max(boxes), 10 * TOLERANCES[precision] * side),
        Difference("scores", max(scores), 10 * TOLERANCES[precision]),
        Difference("unmatched", 1 - counts[1] / counts[0] if counts[0] else 0.0, UNMATCHED[precision]),
    ]


def _present(boxes: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    there = scores > 0
    return boxes[there], scores[there], labels[there]


def _largest(values: Tensor) -> float:
    return float(values.detach().double().abs().amax()) if values.numel() else 0.0


def _excess(difference: Difference) -> float:
    ratio = difference.value / difference.allowed
    return ratio if ratio == ratio else float("inf")


def random_images(size: tuple[int, int], count: int) -> Tensor:
    """(count, 3, H, W) of noise in [-1, 1], the same at each call."""
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
