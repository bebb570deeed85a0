"""Masks to polygons; rasterized again, they give the mask back but for the tolerance."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from contourpy import FillType, contour_generator

# N points of a ring, H W pixels of the image.

DEFAULT_TOLERANCE = 0.35
"""Pixels; the centre of no pixel lies nearer to an outline (0.354), so that the mask comes back exactly."""


class Outline(NamedTuple):
    """One connected region."""

    outer: np.ndarray
    """(N, 2) x, y in pixels from the image's corner; not closed by a repeated point."""
    holes: tuple[np.ndarray, ...]
    """Turned the other way round."""


def outlines(mask: np.ndarray, tolerance: float = DEFAULT_TOLERANCE) -> list[Outline]:
    """(H, W) bool -> its connected regions, whose outlines run midway between pixels inside and outside.

    `tolerance`: how far in pixels a point that is left out may lie from the simplified outline.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return []
    top, left = int(rows[0]), int(columns[0])
    part = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.float64)
    # A region's vertices are at pixel centres of the padded part: half a pixel right of the image's corner, one left.
    offset = np.array([left - 0.5, top - 0.5])
    generator = contour_generator(z=part, name="serial", fill_type=FillType.OuterOffset)
    found = []
    filled: Any = generator.filled(0.5, 2.0)  # its type depends on `fill_type`
    for points, offsets in zip(*filled, strict=True):
        rings = [points[start : end - 1] + offset for start, end in pairwise(offsets)]
        outer, *holes = (simplify(ring, tolerance) for ring in rings)
        found.append(Outline(outer, tuple(holes)))
    return found


def simplify(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """The ring with fewer points (Douglas and Peucker); one of fewer than three points left stays unchanged."""
    far = int(np.argmax(((ring - ring[0]) ** 2).sum(1)))
    closed = np.concatenate([ring, ring[:1]])
    keep = np.zeros(len(closed), dtype=bool)
    keep[[0, far]] = True
    parts = [(0, far), (far, len(ring))]
    while parts:
        start, end = parts.pop()
        if end - start < 2:
            continue
        distances = _distances(closed[start + 1 : end], closed[start], closed[end])
        farthest = int(np.argmax(distances))
        if distances[farthest] > tolerance:
            middle = start + 1 + farthest
            keep[middle] = True
            parts += [(start, middle), (middle, end)]
    kept = ring[keep[:-1]]
    return kept if len(kept) >= 3 else ring


def keyhole(outline: Outline) -> np.ndarray:
    """One ring (N, 2) for formats without holes: each hole is joined by a cut of no width, to its nearest point."""
    ring = outline.outer
    for hole in outline.holes:
        squared = ((ring[:, None] - hole[None]) ** 2).sum(2)
        at, first = divmod(int(np.argmin(squared)), len(hole))
        turned = np.roll(hole, -first, axis=0)
        ring = np.concatenate([ring[: at + 1], turned, turned[:1], ring[at:]])
    return ring


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(N,) of points from the segment between two others."""
    along = end - start
    length = float(along @ along)
    share = np.zeros(len(points)) if length == 0 else ((points - start) @ along / length).clip(0, 1)
    return np.sqrt((((start + share[:, None] * along) - points) ** 2).sum(1))
