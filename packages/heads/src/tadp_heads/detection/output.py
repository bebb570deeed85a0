"""What `PerceptionModel.forward` returns for detection."""

from typing import NamedTuple

from torch import Tensor


class DetectionOutput(NamedTuple):
    """B images, M detections per image: after those found, rows of the score 0 and the label -1."""

    boxes: Tensor
    """(B, M, 4) XYXY in pixels of the images."""
    scores: Tensor
    """(B, M) in [0, 1], descending."""
    labels: Tensor
    """(B, M) int64 class index; there is no background class."""
