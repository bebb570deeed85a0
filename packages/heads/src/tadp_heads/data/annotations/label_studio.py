"""Label Studio's JSON export: a list of tasks with their annotations."""

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from tadp_heads.data.annotations.collector import Collector, ellipse, rectangle, ring, shape_of
from tadp_heads.data.annotations.json_files import holds, json_files, read_object, size_of
from tadp_heads.data.annotations.run_lengths import decode_brush
from tadp_heads.data.annotations.shapes import AnnotatedImage, Annotations, Bitmap, Polygons, Shape
from tadp_heads.data.errors import DataError

_KEYS = (b'"annotations"', b'"data"', b'"result"')
_LABELS = ("polygonlabels", "brushlabels", "rectanglelabels", "ellipselabels")


def is_label_studio(root: Path) -> bool:
    """Whether a JSON file is a list of tasks."""
    return any(holds(path, _KEYS, b"[") for path in json_files(root))


def read_label_studio(root: Path) -> Annotations:
    """Polygons, brush strokes, rectangles and ellipses are regions, choices are tags; key points have no area.

    Of several annotations of a task the one marked as ground truth counts, else the one that was updated last.
    """
    collector = Collector(root, "Label Studio JSON")
    for path in json_files(root):
        if not holds(path, _KEYS, b"["):
            continue
        try:
            tasks = read_object(path)
        except DataError as error:
            collector.annotations.problems.append(str(error))
            continue
        for number, task in enumerate(tasks, start=1):
            _add(collector, path, number, task)
    return collector.finish()


def _add(collector: Collector, path: Path, number: int, task: Any) -> None:
    place = f"task {task.get('id', number)}" if isinstance(task, dict) else f"task {number}"
    try:
        name, results = _image_name(task), _results(collector, path, place, task)
        if results is None:
            return
        shapes = [_shape(collector, path, f"{place}, result {n}", one) for n, one in enumerate(results, start=1)]
        sizes = {size for one in results if (size := _size(one)) is not None}
        if len(sizes) > 1:
            raise ValueError(f"{len(sizes)} different image sizes")
    except ValueError as error:
        collector.problem(
            path, found=f"{error} in {place}", expected="a task of Label Studio's JSON", fix="correct or delete it"
        )
        return
    file = _find(collector, path, name)
    if file is not None:
        tags = tuple(choice for one in results for choice in _choices(one))
        taken = tuple(shape for shape in shapes if shape is not None)
        size = next(iter(sizes), None)
        image = AnnotatedImage(file=file, source=path, shapes=taken, size=size, tags=tags)
        collector.add(collector.index.id_of(file), image)


def _image_name(task: Any) -> str:
    """The path in the task's data that ends like an image file, or the one called "image"."""
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise ValueError("no data")
    texts = [data[key] for key in ("image", "img", *data) if isinstance(data.get(key), str)]
    if not texts:
        raise ValueError("no image in the data")
    parts = urlsplit(texts[0].replace("\\", "/"))
    local = parse_qs(parts.query).get("d")  # /data/local-files/?d=PATH
    return local[0] if local else unquote(parts.path)


def _find(collector: Collector, path: Path, name: str) -> Path | None:
    """The image of the task; an upload's name has eight random characters and a hyphen before the file's own."""
    own = name.rpartition("/")[2]
    prefix, hyphen, rest = own.partition("-")
    if hyphen and len(prefix) == 8 and collector.index.find(own, path.parent) is None:
        return collector.image_file(path, rest)
    return collector.image_file(path, name)


def _results(collector: Collector, path: Path, place: str, task: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Those of the annotation that counts; None, and a note, where the task has none."""
    listed = task.get("annotations", task.get("completions"))
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise ValueError("no list of annotations")
    valid = [one for one in listed if not one.get("was_cancelled")]
    if not valid:
        collector.note(path, place, "it has no annotation")
        return None
    chosen = max(valid, key=lambda one: (one.get("ground_truth") is True, str(one.get("updated_at") or "")))
    if len(valid) > 1:
        collector.note(path, f"all but annotation {chosen.get('id')} of {place}", "one annotation per image counts")
    results = chosen.get("result")
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise ValueError("an annotation without a list of results")
    return results


def _size(result: dict[str, Any]) -> tuple[int, int] | None:
    return size_of(result.get("original_width"), result.get("original_height"))


def _choices(result: dict[str, Any]) -> list[str]:
    value = result.get("value")
    choices = value.get("choices") if isinstance(value, dict) else None
    return [one for one in choices if isinstance(one, str)] if isinstance(choices, list) else []


def _shape(collector: Collector, path: Path, place: str, result: dict[str, Any]) -> Shape | None:
    kind, value = str(result.get("type", "")), result.get("value")
    if kind == "keypointlabels":
        collector.note(path, place, "a key point has no area")
    if kind not in _LABELS:
        return None  # choices, texts, relations
    value = value if isinstance(value, dict) else {}
    labels = value.get(kind)
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
        raise ValueError(f"{str(labels)[:60]} in place of one label in {place}")
    size = _size(result)
    if size is None:
        raise ValueError(f"no original_width and original_height in {place}")
    if result.get("image_rotation"):
        raise ValueError(f"an image that was rotated by {result['image_rotation']} degrees in {place}")
    try:
        region = _region(kind, value, size)
    except ValueError as error:
        raise ValueError(f"{error} in {place} ({labels[0]})") from None
    return shape_of(labels[0], region, place, collector, path)


def _region(kind: str, value: dict[str, Any], size: tuple[int, int]) -> Polygons | Bitmap:
    """Coordinates are percent of the image's width and height."""
    scale = np.array(size) / 100
    if kind == "polygonlabels":
        return Polygons((ring(value.get("points")) * scale,))
    if kind == "brushlabels":
        if value.get("format", "rle") != "rle":
            raise ValueError(f"brush strokes of the format {value.get('format')!r}")
        return Bitmap(partial(decode_brush, value.get("rle"), size[1], size[0]), size=size)
    x, y = ring([(value.get("x"), value.get("y"))])[0] * scale
    rotation = value.get("rotation") or 0
    if kind == "ellipselabels":
        radius_x, radius_y = ring([(value.get("radiusX"), value.get("radiusY"))])[0] * scale
        return ellipse(x, y, radius_x, radius_y, rotation)
    width, height = ring([(value.get("width"), value.get("height"))])[0] * scale
    return rectangle(x, y, x + width, y + height, rotation, pivot=(x, y))
