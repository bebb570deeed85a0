"""How depth maps are predicted and evaluated, by name."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Predict = Callable[[Tensor], Tensor]
"""Images (B, 3, H, W) of any size -> (B, 1, H, W) in metres."""


@dataclass(frozen=True, kw_only=True)
class DepthProtocol:
    """How an image is cut up for prediction, and which of its pixels are evaluated."""

    windows: bool = False
    """Predict square windows along the longer side and average their overlap, instead of the whole image at once."""
    flip: bool = False
    """Average with the prediction for the mirrored image."""
    min_m: float = 1e-3
    """Only targets above it count, metres; also what a prediction that is no number is taken for."""
    max_m: float = math.inf
    """Only targets below it count, metres; also what an infinite prediction is taken for."""
    rows: tuple[int, int] | None = None
    """First evaluated row and the row after the last one, None for all."""
    columns: tuple[int, int] | None = None
    """First evaluated column and the column after the last one, None for all."""
    image_size: tuple[int, int] | None = None
    """(height, width) that rows and columns refer to."""

    def predict(self, predict: Predict, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> (B, 1, H, W) in metres."""
        return (
            predict_windows(predict, images, self.flip) if self.windows else predict_whole(predict, images, self.flip)
        )


FULL = DepthProtocol()
NYU_EIGEN = DepthProtocol(windows=True, flip=True, max_m=10.0, rows=(45, 471), columns=(41, 601), image_size=(480, 640))
PROTOCOLS = {
    "full": FULL,
    "full-flip": replace(FULL, flip=True),
    "nyu-eigen": NYU_EIGEN,
    "nyu-eigen-no-flip": replace(NYU_EIGEN, flip=False),
}
"""full: every pixel that has a value. nyu-eigen: Eigen's crop of the 480x640 frame, where the camera has depth, with
two windows and flip as for the paper's Table 3 (docs/reference.md, section 2); without the flip is what the released
test script ran."""


def get_protocol(protocol: str | DepthProtocol) -> DepthProtocol:
    """A protocol by its name; one that is built already passes."""
    if isinstance(protocol, DepthProtocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown depth protocol {protocol!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[protocol]


def predict_whole(predict: Predict, images: Tensor, flip: bool = False) -> Tensor:
    """Images (B, 3, H, W) in one piece -> (B, 1, H, W) in metres; `flip` averages with the mirrored images."""
    depth = predict(images)
    if not flip:
        return depth
    return (depth + predict(images.flip(-1)).flip(-1)) / 2


def predict_windows(predict: Predict, images: Tensor, flip: bool = False) -> Tensor:
    """Square windows of the shorter side along the longer one, averaged where they overlap -> (B, 1, H, W) in metres.

    For NYUv2's 480x640 two windows of 480x480, at x = 0 and x = 160. A longer image gets as many windows as cover it.
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    total = torch.zeros(images.shape[0], 1, height, width, device=images.device)
    count = torch.zeros_like(total)
    for top, left in _window_corners(height, width):
        window = (..., slice(top, top + side), slice(left, left + side))
        total[window] += predict_whole(predict, images[window], flip)
        count[window] += 1
    return total / count


def _window_corners(height: int, width: int) -> list[tuple[int, int]]:
    """(top, left) of the windows, evenly spread, the first at the start and the last at the end."""
    side, length = min(height, width), max(height, width)
    count = 1 if side == length else max(2, math.ceil(length / side))
    starts = [round(i * (length - side) / max(count - 1, 1)) for i in range(count)]
    return [(start, 0) if height > width else (0, start) for start in starts]
