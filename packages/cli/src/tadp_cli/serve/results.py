"""A prediction as the body of a response."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tadp_cli.serve.jobs import Answer
from tadp_heads import DepthResult, DetectionResult, SegmentationResult

_MILLIMETRES = 1000
_LARGEST = 65535


def png(image: Image.Image) -> Answer:
    """Lossless, at the level of compression at which encoding takes less time than a pass of the smallest model."""
    file = io.BytesIO()
    image.save(file, format="PNG", compress_level=1)
    return Answer(body=file.getvalue(), media_type="image/png")


def _mask(result: SegmentationResult) -> Answer:
    """Class ids with the palette."""
    mask = Image.fromarray(result.ids.cpu().numpy().astype(np.uint8), mode="P")
    mask.putpalette([channel for color in result.palette for channel in color])
    return png(mask)


def _areas(result: SegmentationResult) -> Answer:
    """{class found: share of the image's pixels}."""
    return _json({"areas": result.areas})


def _boxes(result: DetectionResult) -> Answer:
    """Boxes XYXY in pixels of the image, the surest first."""
    rows = zip(result.boxes.tolist(), result.scores.tolist(), result.labels.tolist(), strict=True)
    found = [{"box": box, "score": score, "label": result.names[label]} for box, score, label in rows]
    return _json({"width": result.image.width, "height": result.image.height, "detections": found})


def _millimetres(result: DepthResult) -> Answer:
    """16-bit PNG."""
    values = (result.metres.cpu().numpy() * _MILLIMETRES).round().clip(0, _LARGEST)
    return png(Image.fromarray(values.astype(np.uint16)))


def _metres(result: DepthResult) -> Answer:
    """A float32 array (H, W) of NumPy."""
    file = io.BytesIO()
    np.save(file, result.metres.cpu().numpy(), allow_pickle=False)
    return Answer(body=file.getvalue(), media_type="application/octet-stream")


def _json(value: Any) -> Answer:
    return Answer(body=json.dumps(value).encode(), media_type="application/json")


RESULTS: dict[str, dict[str, Callable[[Any], Answer]]] = {
    "SegmentationResult": {"mask": _mask, "areas": _areas},
    "DepthResult": {"millimetres": _millimetres, "metres": _metres},
    "DetectionResult": {"boxes": _boxes},
}
"""{result class: {output: how it is encoded}}, the default first; every result also has an overlay."""
