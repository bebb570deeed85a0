"""LabelMe: one JSON per image, next to it or in a folder of its own."""

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tadp_heads.atomic_files import is_limit
from tadp_heads.data.annotations.collector import Collector, ellipse, rectangle, ring, shape_of
from tadp_heads.data.annotations.json_files import holds, json_files, read_object, size_of
from tadp_heads.data.annotations.shapes import AnnotatedImage, Annotations, Bitmap, Polygons, Shape
from tadp_heads.data.errors import DataError

_KEYS = (b'"shapes"', b'"imagePath"')


def is_labelme(root: Path) -> bool:
    """Whether a JSON file has LabelMe's keys."""
    return any(holds(path, _KEYS, b"{") for path in json_files(root))


def read_labelme(root: Path) -> Annotations:
    """Shapes "polygon", "rectangle", "circle" and "mask" are regions; points and lines have no area."""
    collector = Collector(root, "LabelMe JSON")
    for path in json_files(root):
        try:
            content = read_object(path)
        except DataError as error:
            collector.annotations.problems.append(str(error))
            continue
        if isinstance(content, dict) and "shapes" in content and "imagePath" in content:
            _add(collector, path, content)
    return collector.finish()


def _add(collector: Collector, path: Path, content: dict[str, Any]) -> None:
    size = size_of(content.get("imageWidth"), content.get("imageHeight"))
    try:
        if not isinstance(content["shapes"], list) or not isinstance(content["imagePath"], str):
            raise ValueError("no list of shapes, or no imagePath")
        shapes = [_shape(collector, path, number, one) for number, one in enumerate(content["shapes"], start=1)]
    except ValueError as error:
        collector.problem(path, found=str(error), expected="LabelMe's JSON", fix="correct or delete the shape")
        return
    file = collector.image_file(path, content["imagePath"])
    if file is not None:
        flags = content.get("flags")
        tags = tuple(name for name, on in flags.items() if on is True) if isinstance(flags, dict) else ()
        taken = tuple(shape for shape in shapes if shape is not None)
        image = AnnotatedImage(file=file, source=path, shapes=taken, size=size, tags=tags)
        collector.add(collector.index.id_of(file), image)


def _shape(collector: Collector, path: Path, number: int, entry: Any) -> Shape | None:
    place = f"shape {number}"
    label = entry.get("label") if isinstance(entry, dict) else None
    if not isinstance(label, str) or not label:
        raise ValueError(f"{place} without a label")
    kind = entry.get("shape_type") or "polygon"
    try:
        region = _region(kind, entry)
    except ValueError as error:
        raise ValueError(f"{error} in {place} ({label})") from None
    if region is None:
        collector.note(path, f"{place} ({label})", f"a {kind} has no area")
        return None
    group = entry.get("group_id")
    return shape_of(label, region, place, collector, path, group="" if group is None else str(group))


def _region(kind: str, entry: dict[str, Any]) -> Polygons | Bitmap | None:
    points = ring(entry.get("points"))
    if kind == "polygon" or (kind == "rectangle" and len(points) == 4):
        return Polygons((points,))
    if kind in ("rectangle", "circle", "mask") and len(points) != 2:
        raise ValueError(f"{len(points)} points of a {kind}, which has two")
    if kind == "rectangle":
        return rectangle(*points.min(0), *points.max(0))
    if kind == "circle":
        radius = math.dist(*points.tolist())
        x, y = points[0]
        return ellipse(x, y, radius, radius)
    if kind == "mask":
        left, top = (int(value) for value in points[0])
        return Bitmap(lambda: _decoded(entry.get("mask")), left, top)
    return None


def _decoded(text: Any) -> np.ndarray:
    """(h, w) bool of an image in base64."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True))) as image:
            return np.array(image.convert("L")) > 0
    except Exception as error:  # decoders of damaged files raise nearly anything
        if is_limit(error):
            raise
        raise ValueError(f"a mask that is no image ({type(error).__name__})") from None
