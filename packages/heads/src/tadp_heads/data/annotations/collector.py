"""Puts together what a reader finds in annotation files, and what it leaves out and why."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tadp_heads.data.annotations.image_index import ImageIndex
from tadp_heads.data.annotations.shapes import FARTHEST, AnnotatedImage, Annotations, Polygons, Shape
from tadp_heads.data.errors import DataError


class Collector:
    """The annotations of one folder as a reader finds them, file by file."""

    def __init__(self, root: Path, format_name: str):
        self.root = root
        self.index = ImageIndex(root)
        self.annotations = Annotations(format=format_name)
        self._refused: dict[str, None] = {}
        self._splits: dict[str, list[str]] = {}

    def image_file(self, source: Path, name: str) -> Path | None:
        """The image of this name; None, and a problem, where there is none or several may be meant."""
        file = self.index.find(name, source.parent, source)
        if file is None:
            self.problem(
                source,
                found=f"no image {name[:200]!r}",
                expected=f"exactly one image file of that name in {self.root}",
                fix="copy it there, or name its folder in the annotation",
            )
        return file

    def add(self, image_id: str, image: AnnotatedImage, split: str = "") -> None:
        """Take an image with its shapes; one that was annotated twice is left out, for which one counts is unknown."""
        other = self.annotations.images.pop(image_id, None)
        if other is not None or image_id in self._refused:
            self._refused[image_id] = None
            self.problem(
                image.source,
                found=f"a second annotation of {image_id!r}",
                expected="each image once",
                fix="delete one of the two",
            )
            return
        self.annotations.images[image_id] = image
        self.in_split(image_id, split)

    def in_split(self, image_id: str, split: str) -> None:
        """Put the image into the split; "": into none."""
        if split:
            self._splits.setdefault(split, []).append(image_id)

    def problem(self, path: Path, **found: str) -> None:
        """Something that is left out because it can't be read: `found`, `expected` and `fix` of a DataError."""
        self.annotations.problems.append(str(DataError(path, **found)))

    def note(self, source: Path, place: str, why: str) -> None:
        """A shape that is left out."""
        self.annotations.notes.append(f"{source}: {place} is left out: {why}")

    def finish(self, labels: Sequence[str] | None = None) -> Annotations:
        """Everything that was taken, with the labels that the files declare; None: they declare none."""
        taken = self.annotations.images
        splits = {name: tuple(one for one in ids if one in taken) for name, ids in self._splits.items()}
        if splits.keys() != {"default"}:  # CVAT's name for no split
            self.annotations.splits = {name: ids for name, ids in splits.items() if ids}
        self.annotations.labels = None if labels is None else tuple(dict.fromkeys(labels))
        return self.annotations


def ring(points: Any) -> np.ndarray:
    """(N, 2) float64 of pairs of numbers; ValueError for anything else."""
    rows = [[_coordinate(value) for value in pair] for pair in _list(points)]
    if any(len(row) != 2 for row in rows):
        raise ValueError("points that are not pairs x, y")
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def pairs(numbers: Any) -> np.ndarray:
    """(N, 2) of a flat list x1, y1, x2, y2, ..."""
    flat = [_coordinate(value) for value in _list(numbers)]
    if len(flat) % 2:
        raise ValueError("an odd number of coordinates")
    return np.array(flat, dtype=np.float64).reshape(-1, 2)


def rectangle(left: Any, top: Any, right: Any, bottom: Any, rotation: float = 0.0, pivot: Any = None) -> Polygons:
    """A box along the axes or, turned clockwise by `rotation` degrees about `pivot` (None: its centre), a polygon."""
    corners = ring([(left, top), (right, top), (right, bottom), (left, bottom)])
    if not rotation:
        return Polygons((corners,), is_box=True)
    centre = corners.mean(0) if pivot is None else np.asarray(pivot, dtype=np.float64)
    return Polygons((_turned(corners, centre, rotation),))


def ellipse(x: Any, y: Any, radius_x: Any, radius_y: Any, rotation: float = 0.0) -> Polygons:
    """An ellipse as a polygon that is nowhere farther than a hundredth of a pixel from it."""
    x, y, radius_x, radius_y = map(_coordinate, (x, y, radius_x, radius_y))
    largest = max(abs(radius_x), abs(radius_y), 1.0)
    count = min(4096, max(16, math.ceil(math.pi / math.acos(1 - 0.01 / largest))))
    angles = np.arange(count) * 2 * np.pi / count
    points = np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)
    return Polygons((_turned(points, np.array([x, y]), rotation) if rotation else points,))


def shape_of(label: str, region: Any, place: str, collector: Collector, source: Path, **more: Any) -> Shape | None:
    """The shape; None, and a note, where its polygons have fewer than three points each."""
    if isinstance(region, Polygons):
        rings = tuple(points for points in region.rings if len(points) >= 3)
        if not rings:
            collector.note(source, f"{place} ({label})", "fewer than three points")
            return None
        if len(rings) < len(region.rings):
            collector.note(source, f"a part of {place} ({label})", "fewer than three points")
        region = Polygons(rings, region.is_relative, region.is_box)
    return Shape(label=label, region=region, place=place, **more)


def _turned(points: np.ndarray, centre: np.ndarray, degrees: float) -> np.ndarray:
    angle = math.radians(_coordinate(degrees))
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (points - centre) @ matrix.T + centre


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{str(value)[:40]!r} in place of a list of points")
    return list(value)


def _coordinate(value: Any) -> float:
    """A finite number of the size of a pixel coordinate, also as text; JSON has numbers of any size, and NaN."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the coordinate {str(value)[:40]!r}") from None
    if not abs(number) < FARTHEST:
        raise ValueError(f"the coordinate {number:g}")
    return number
