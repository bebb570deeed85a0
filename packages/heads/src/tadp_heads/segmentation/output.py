"""What `PerceptionModel.forward` returns for segmentation."""

from typing import NamedTuple

from torch import Tensor


class SegmentationOutput(NamedTuple):
    """B images of H x W pixels, K classes."""

    logits: Tensor
    """(B, K, H, W), before the softmax; the argmax over K is the class id."""
