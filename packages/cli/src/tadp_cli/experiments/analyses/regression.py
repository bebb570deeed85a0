"""A straight line through points, and how well it fits."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Line:
    """Least squares y = intercept + slope x."""

    slope: float
    intercept: float
    r: float
    """Pearson's correlation, in [-1, 1]."""
    count: int

    def __str__(self) -> str:
        return f"r = {self.r:.2f}, slope {self.slope:.2f}, n = {self.count}"

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Points that have no spread in x or in y have no line: a ValueError."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        raise ValueError(f"{len(x)} points do not determine a regression line: raise --images")
    slope, intercept = np.polyfit(x, y, 1)
    return Line(slope=float(slope), intercept=float(intercept), r=float(np.corrcoef(x, y)[0, 1]), count=len(x))
