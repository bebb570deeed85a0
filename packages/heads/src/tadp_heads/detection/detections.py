"""The boxes found in one image, and what is done to them afterwards."""

from collections.abc import Mapping
from typing import TypedDict

import torch
from torch import Tensor


class Detections(TypedDict):
    """Objects found in one image, the surest first; N of them, N may be 0."""

    boxes: Tensor
    """(N, 4) float32 XYXY in pixels of the image, 0-based, right and bottom edges exclusive."""
    scores: Tensor
    """(N,) in [0, 1], descending."""
    labels: Tensor
    """(N,) int64 class index; there is no background class."""


def rescale(detections: Detections, from_size: tuple[int, int], to_size: tuple[int, int]) -> Detections:
    """Boxes in the frame of an image of `from_size` (height, width) -> in the frame of its copy of `to_size`."""
    vertical, horizontal = (to / of for to, of in zip(to_size, from_size, strict=True))
    factors = detections["boxes"].new_tensor([horizontal, vertical, horizontal, vertical])
    return Detections(boxes=detections["boxes"] * factors, scores=detections["scores"], labels=detections["labels"])


def map_classes(detections: Detections, mapping: Mapping[int, int]) -> Detections:
    """Labels translated by `mapping`; detections of other classes are dropped (docs/reference.md, section 3)."""
    labels = detections["labels"]
    mapped = torch.tensor(
        [mapping.get(label, -1) for label in labels.tolist()], dtype=torch.int64, device=labels.device
    )
    kept = mapped >= 0
    return Detections(boxes=detections["boxes"][kept], scores=detections["scores"][kept], labels=mapped[kept])
