"""What `PerceptionModel.forward` returns for depth."""

from typing import NamedTuple

from torch import Tensor


class DepthOutput(NamedTuple):
    """B images of H x W pixels."""

    metres: Tensor
    """(B, 1, H, W), distance in metres."""
