"""What `PerceptionModel.forward` returns for segmentation."""

from typing import NamedTuple

from torch import Tensor


class ConfidentIds(NamedTuple):
    """A prediction for one image of H x W pixels."""

    ids: Tensor
    """(H, W) int64 class ids."""
    confidence: Tensor
    """(H, W) float32, the probability of that class."""


class SegmentationOutput(NamedTuple):
    """B images of H x W pixels, K classes."""

    logits: Tensor
    """(B, K, H, W), before the softmax; the argmax over K is the class id."""
