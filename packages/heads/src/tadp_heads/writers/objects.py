"""The objects of a prediction, as every annotation tool's writer takes them."""

from dataclasses import asdict, dataclass
from functools import singledispatch
from typing import Any, Self

import numpy as np

from tadp_heads.data.class_names import is_background
from tadp_heads.results import DetectionResult, SegmentationResult
from tadp_heads.writers.polygons import DEFAULT_TOLERANCE, keyhole, outlines


@dataclass(frozen=True, kw_only=True)
class PredictedObject:
    """A region or a box of one class."""

    label: str
    box: tuple[float, float, float, float]
    """XYXY in pixels."""
    area: float
    """Pixels."""
    score: float | None = None
    """In [0, 1]: of a region the mean probability of its class over its pixels; None where it is not known."""
    ring: list[list[float]] | None = None
    """The outline as one ring of x, y; holes are joined to it by cuts of no width. None for a box."""


@dataclass(frozen=True, kw_only=True)
class PredictedImage:
    """The objects of one image, the largest or the surest first."""

    id: str
    file: str
    """The image file."""
    width: int
    height: int
    objects: tuple[PredictedObject, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        objects = tuple(PredictedObject(**one | {"box": tuple(one["box"])}) for one in values["objects"])
        return cls(**values | {"objects": objects})


@singledispatch
def objects_of(result: Any, tolerance: float = DEFAULT_TOLERANCE) -> tuple[PredictedObject, ...]:
    """The objects of a `Result`; ValueError for a task that has none, such as depth."""
    raise ValueError(f"{type(result).__name__} has no objects: leave --format out")


@objects_of.register
def _(result: SegmentationResult, tolerance: float = DEFAULT_TOLERANCE) -> tuple[PredictedObject, ...]:
    """The connected regions of each class but the background."""
    ids = result.ids.cpu().numpy()
    confidence = None if result.confidence is None else result.confidence.cpu().numpy()
    found = []
    for index in np.unique(ids).tolist():
        if is_background(result.names[index]):
            continue
        for outline in outlines(ids == index, tolerance):
            low, high = outline.outer.min(0), outline.outer.max(0)
            found.append(
                PredictedObject(
                    label=result.names[index],
                    box=(*low.tolist(), *high.tolist()),
                    area=_area(outline.outer) - sum(map(_area, outline.holes)),
                    score=None if confidence is None else _mean(confidence, ids == index, low, high),
                    ring=np.round(keyhole(outline), 3).tolist(),
                )
            )
    # Later shapes cover earlier ones where simplified outlines overlap: the small ones must stay visible.
    return tuple(sorted(found, key=lambda one: -one.area))


@objects_of.register
def _(result: DetectionResult, tolerance: float = DEFAULT_TOLERANCE) -> tuple[PredictedObject, ...]:
    rows = zip(result.boxes.tolist(), result.scores.tolist(), result.labels.tolist(), strict=True)
    return tuple(
        PredictedObject(
            label=result.names[label], box=tuple(box), score=score, area=(box[2] - box[0]) * (box[3] - box[1])
        )
        for box, score, label in rows
    )


def _mean(confidence: np.ndarray, of_class: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Over the class's pixels in the region's box, which are nearly all its own."""
    rows, columns = slice(int(low[1]), int(np.ceil(high[1]))), slice(int(low[0]), int(np.ceil(high[0])))
    return float(confidence[rows, columns][of_class[rows, columns]].mean(dtype=np.float64))


def _area(ring: np.ndarray) -> float:
    """Of a polygon, in pixels."""
    x, y = ring.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)
