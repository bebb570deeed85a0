"""What annotation tools draw: labelled regions of an image."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from tadp_heads.data.annotations.rasterize import fill_rings

FARTHEST = 1e6
"""Pixels; no image has a side of so many."""


class Cover(NamedTuple):
    """The pixels of a region within an image."""

    top: int
    left: int
    pixels: np.ndarray
    """(h, w) bool, a part of the image whose first pixel is (top, left)."""


class Region(Protocol):
    """An area of an image."""

    def cover(self, height: int, width: int) -> Cover:
        """The pixels of the image that belong to it; raise ValueError where it is malformed."""

    def box(self, height: int, width: int) -> tuple[float, float, float, float] | None:
        """XYXY in pixels, inside the image; None: it has no area there."""


@dataclass(frozen=True)
class Polygons:
    """The union of rings; each is filled by the even-odd rule."""

    rings: tuple[np.ndarray, ...]
    """(N, 2) x, y each: in pixels from the image's corner or, if `is_relative`, in shares of its width and height."""
    is_relative: bool = False
    is_box: bool = False
    """Whether it was drawn as a rectangle along the image's axes, for detection."""

    def cover(self, height: int, width: int) -> Cover:
        """See `Region`."""
        edges = self.box(height, width)
        if edges is None:
            return Cover(0, 0, np.zeros((0, 0), dtype=bool))
        left, top = int(edges[0]), int(edges[1])
        right, bottom = int(np.ceil(edges[2])), int(np.ceil(edges[3]))
        rings = [ring - (left, top) for ring in self._in_pixels(height, width)]
        return Cover(top, left, fill_rings(rings, bottom - top, right - left))

    def box(self, height: int, width: int) -> tuple[float, float, float, float] | None:
        """See `Region`."""
        points = np.concatenate(self._in_pixels(height, width))
        left, top = points.min(0).clip(0, (width, height)).tolist()
        right, bottom = points.max(0).clip(0, (width, height)).tolist()
        return (left, top, right, bottom) if left < right and top < bottom else None

    def outside(self, height: int, width: int) -> float:
        """How far its farthest point lies outside the image, in pixels."""
        points = np.concatenate(self._in_pixels(height, width))
        return float(max(0.0, -points.min(), (points - (width, height)).max()))

    def _in_pixels(self, height: int, width: int) -> list[np.ndarray]:
        return [ring * (width, height) if self.is_relative else ring for ring in self.rings]


@dataclass(frozen=True)
class Bitmap:
    """Pixels that were painted; decoded when they are read."""

    decode: Callable[[], np.ndarray]
    """() -> (h, w) bool; raises ValueError where the encoded pixels are malformed."""
    left: int = 0
    top: int = 0
    size: tuple[int, int] | None = None
    """(width, height) of the image that was painted, where it must be the image's own."""

    def cover(self, height: int, width: int) -> Cover:
        """See `Region`."""
        if self.size not in (None, (width, height)):
            raise ValueError(f"pixels of a {self.size[0]}x{self.size[1]} image, expected {width}x{height}")
        pixels = self.decode()
        top, left = max(self.top, 0), max(self.left, 0)
        cut = pixels[top - self.top : max(height - self.top, 0), left - self.left : max(width - self.left, 0)]
        return Cover(top, left, cut)

    def box(self, height: int, width: int) -> tuple[float, float, float, float] | None:
        """See `Region`."""
        top, left, pixels = self.cover(height, width)
        rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
        if not rows.size:
            return None
        return (left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)


@dataclass(frozen=True)
class Shape:
    """A labelled region."""

    label: str
    """As it is spelled in the file."""
    region: Region
    place: str
    """Where in the file it stands, for messages, such as "shape 3"."""
    z_order: int = 0
    """Shapes of a higher one cover the others; of the same, later ones cover earlier ones."""
    is_crowd: bool = False
    is_extent: bool = False
    """Whether the region is only the box around an object whose outline was not drawn."""
    group: str = ""
    """Shapes of one label and group are parts of one object; "": an object of its own."""


@dataclass(frozen=True)
class AnnotatedImage:
    """An image file and what was drawn on it."""

    file: Path
    source: Path
    """The annotation file."""
    shapes: tuple[Shape, ...]
    size: tuple[int, int] | None = None
    """(width, height) in pixels as the annotation file declares it."""
    tags: tuple[str, ...] = ()
    """Labels of the whole image."""


@dataclass(kw_only=True)
class Annotations:
    """What was read of a folder."""

    format: str
    images: dict[str, AnnotatedImage] = field(default_factory=dict)
    """By id."""
    labels: tuple[str, ...] | None = None
    """Those that the files declare, in their order; None: the files declare none."""
    splits: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """{split: ids}, where the files have splits."""
    problems: list[str] = field(default_factory=list)
    """What could not be read and is left out, one line each: files, or images with all their shapes."""
    notes: list[str] = field(default_factory=list)
    """Shapes that are left out because they have no area, one line each."""

    @property
    def has_regions(self) -> bool:
        """Whether a shape marks pixels, not only a box."""
        return any(
            not (isinstance(shape.region, Polygons) and shape.region.is_box)
            for image in self.images.values()
            for shape in image.shapes
        )
