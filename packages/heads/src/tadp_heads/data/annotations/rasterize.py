"""Polygons to pixels: a pixel belongs to a polygon that contains its centre.

Pillow's `ImageDraw.polygon` also fills every pixel that the outline touches, half a pixel too much on each side.
"""

from collections.abc import Sequence

import numpy as np

# H W pixels of the image, E edges of a ring, R rows that edges cross.


def fill_ring(ring: np.ndarray, height: int, width: int) -> np.ndarray:
    """(N, 2) x, y in pixels, closed by its first point -> (H, W) bool; even-odd rule.

    Pixel (row, column) has its centre at (column + 0.5, row + 0.5). A centre on the outline belongs to the polygon on
    its right or below, so that polygons with a common edge share no pixel and leave none out. Points may lie outside.
    """
    start, end = ring.astype(np.float64), np.roll(ring, -1, axis=0).astype(np.float64)
    upward = start[:, 1] > end[:, 1]
    start, end = np.where(upward[:, None], end, start), np.where(upward[:, None], start, end)  # (E, 2) top, bottom
    first = np.ceil(np.clip(start[:, 1] - 0.5, 0, height)).astype(np.int64)
    past = np.ceil(np.clip(end[:, 1] - 0.5, 0, height)).astype(np.int64)
    counts = past - first
    edges = np.repeat(np.arange(len(start)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edges]  # (R,)
    top, bottom = start[edges], end[edges]
    share = (rows + 0.5 - top[:, 1]) / (bottom[:, 1] - top[:, 1])
    crossings = top[:, 0] + share * (bottom[:, 0] - top[:, 0])
    columns = np.ceil(np.clip(crossings - 0.5, 0, width)).astype(np.int64)
    toggles = np.zeros((height, width + 1), dtype=np.uint8)  # which may wrap: only their parity counts
    np.add.at(toggles, (rows, columns), 1)
    return np.cumsum(toggles, axis=1, dtype=np.uint8)[:, :width] & 1 == 1


def fill_rings(rings: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """(H, W) bool: the union of the rings, as COCO defines an object of several polygons."""
    filled = np.zeros((height, width), dtype=bool)
    for ring in rings:
        filled |= fill_ring(ring, height, width)
    return filled
