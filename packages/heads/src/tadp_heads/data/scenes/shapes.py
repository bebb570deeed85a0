"""The twelve silhouettes of Scenes as polygons in the unit disc.

They come in look-alikes (circle and hexagon, tree and triangle, ring and moon, ...), all are filled with the same
colours and textures, so that no local patch gives a class away: only the whole outline does, or a prompt that names it.
"""

import numpy as np

CLASSES = (
    "circle",
    "hexagon",
    "square",
    "triangle",
    "tree",
    "house",
    "ring",
    "moon",
    "star",
    "flower",
    "heart",
    "drop",
)

RING_HOLE = 0.52
"""Radius of the ring's hole, as a share of the ring's."""


def outline(name: str) -> np.ndarray:
    """Polygon (N, 2) of x right, y down within the unit disc; even-odd filling, so the ring's hole is part of it."""
    if name not in _OUTLINES:
        raise ValueError(f"unknown silhouette {name!r}; choose from {', '.join(CLASSES)}")
    return _OUTLINES[name]


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], axis=1)


def _regular(corners: int, turn: float = 0.0) -> np.ndarray:
    angle = turn + 2 * np.pi * np.arange(corners) / corners
    return _polar(np.ones(corners), angle)


def _ring(hole: float) -> np.ndarray:
    outer, inner = _regular(40), hole * _regular(40)
    return np.concatenate([outer, outer[:1], inner[::-1], inner[-1:]])


def _moon() -> np.ndarray:
    """A disc less a smaller disc shifted to the right: a ring that is open on one side."""
    outer = np.linspace(0.25 * np.pi, 1.75 * np.pi, 40)
    inner = np.linspace(1.68 * np.pi, 0.32 * np.pi, 40)
    rim = np.stack([np.cos(outer), np.sin(outer)], axis=1)
    bite = np.stack([0.36 + 0.62 * np.cos(inner), 0.72 * np.sin(inner)], axis=1)
    return np.concatenate([rim, bite])


def _star() -> np.ndarray:
    angle = np.pi * np.arange(10) / 5
    return _polar(np.where(np.arange(10) % 2 == 0, 1.0, 0.45), angle)


def _flower() -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return _polar(0.74 + 0.26 * np.cos(5 * angle), angle)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x / 17, -(y + 2.5) / 17], axis=1)


def _drop() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 50, endpoint=False)
    return np.stack([0.8 * np.sin(t) * np.sin(t / 2) ** 1.5, -np.cos(t)], axis=1)


_TREE = [(0, -1), (0.5, -0.4), (0.28, -0.4), (0.8, 0.45), (0.18, 0.45), (0.18, 0.98), (-0.18, 0.98), (-0.18, 0.45)]
_TREE += [(-0.8, 0.45), (-0.28, -0.4), (-0.5, -0.4)]
_HOUSE = [(0, -0.98), (0.85, -0.2), (0.66, -0.2), (0.66, 0.75), (-0.66, 0.75), (-0.66, -0.2), (-0.85, -0.2)]

_OUTLINES = {
    "circle": 0.92 * _regular(48),
    "hexagon": _regular(6),
    "square": _regular(4, np.pi / 4),
    "triangle": np.array([(0, -0.95), (0.9, 0.7), (-0.9, 0.7)]),
    "tree": np.array(_TREE, dtype=float),
    "house": np.array(_HOUSE, dtype=float),
    "ring": _ring(RING_HOLE),
    "moon": _moon(),
    "star": _star(),
    "flower": _flower(),
    "heart": _heart(),
    "drop": _drop(),
}

HOLES = {"ring": RING_HOLE * _regular(40)}
"""{class: the polygon (N, 2) of its hole}."""
