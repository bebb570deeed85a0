"""Where one shot of a video ends and the next begins."""

import numpy as np
from PIL import Image

_BINS = 8
"""Of each colour channel."""
_SIDE = 64
"""Pixels of the square to which frames are brought: noise and small motions do not count."""


class ShotDetector:
    """Takes frame after frame; a cut is a frame whose colours differ from those of the frame before.

    Their difference is half the L1 distance of the frames' joint histograms of red, green and blue (8 x 8 x 8 bins), in
    [0, 1] (colour histograms, Boreczky and Rowe 1996).
    """

    def __init__(self, threshold: float = 0.5, shortest: int = 5):
        """`shortest`: frames of a shot, so that a flash is no cut."""
        if not 0 < threshold <= 1:
            raise ValueError(f"a shot threshold of {threshold}: expected above 0, up to 1")
        self.threshold, self.shortest = threshold, shortest
        self.shot = -1
        """Number of the current shot."""
        self._before: np.ndarray | None = None
        self._length = 0

    def add(self, image: Image.Image) -> bool:
        """Whether a shot begins with this frame; the first frame does."""
        histogram = colour_histogram(image)
        cut = self._before is None or (
            self._length >= self.shortest and float(np.abs(histogram - self._before).sum()) / 2 > self.threshold
        )
        self._before = histogram
        self._length = 1 if cut else self._length + 1
        self.shot += cut
        return cut


def colour_histogram(image: Image.Image) -> np.ndarray:
    """(512,) shares of the pixels per colour; they add up to 1."""
    pixels = np.asarray(image.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.int64)
    bins = pixels * _BINS // 256
    index = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    return np.bincount(index.ravel(), minlength=_BINS**3) / _SIDE**2
