"""COCO's JSON with polygons and run lengths, as COCO itself, CVAT, Label Studio and Roboflow write it."""

import mmap
import re
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from tadp_heads.data.annotations.collector import Collector, pairs, rectangle, shape_of
from tadp_heads.data.annotations.image_index import plain_id
from tadp_heads.data.annotations.json_files import holds, json_files, read_object, size_of, table_of
from tadp_heads.data.annotations.run_lengths import decode_coco
from tadp_heads.data.annotations.shapes import AnnotatedImage, Annotations, Bitmap, Polygons, Shape
from tadp_heads.data.annotations.splits import split_key
from tadp_heads.data.errors import DataError

_KEYS = (b'"images"', b'"annotations"', b'"categories"')
_OUTLINE = re.compile(rb'"segmentation"\s*:\s*(\[\s*\[|\{)')


def is_coco(root: Path) -> bool:
    """Whether a JSON file has COCO's three tables."""
    return any(holds(path, _KEYS, b"{") for path in json_files(root))


def has_outlines(path: Path) -> bool:
    """Whether an object has a polygon or run lengths; found without reading the file into memory."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _OUTLINE.search(content) is not None


def read_coco(root: Path) -> Annotations:
    """An object of several polygons is their union; crowds are pixels of their class, and difficult boxes."""
    collector, names = Collector(root, "COCO JSON"), []
    paths = [path for path in json_files(root) if holds(path, _KEYS, b"{")]
    for path in paths:
        try:
            names += _add(collector, path, _split(path, alone=len(paths) == 1))
        except DataError as error:
            collector.annotations.problems.append(str(error))
    return collector.finish(names)


def _split(path: Path, alone: bool) -> str:
    """instances_train.json -> train; Roboflow writes train/_annotations.coco.json. "" for one file of another name."""
    if path.name.startswith("instances_"):
        return path.stem.removeprefix("instances_")
    if alone:
        return ""
    return split_key(path.parent.name if path.name.startswith("_") else path.stem)


def _add(collector: Collector, path: Path, split: str) -> list[str]:
    """The images of one file; returns its class names in the order of their ids."""
    content = read_object(path)
    images, entries, categories = (table_of(path, content, name) for name in ("images", "annotations", "categories"))
    names = _category_names(path, categories)
    of_image = defaultdict(list)
    for entry in entries:
        of_image[str(entry.get("image_id"))].append(entry)
    for image in images:
        _add_image(collector, path, image, of_image.pop(str(image.get("id")), []), names, split)
    for image_id in of_image:
        collector.problem(
            path, found=f"annotations of image_id {image_id[:40]}", expected="an image of that id", fix="delete them"
        )
    return [name for _, name in sorted(names.items())]


def _category_names(path: Path, categories: list[dict[str, Any]]) -> dict[int, str]:
    names: dict[int, str] = {}
    for category in categories:
        number, name = category.get("id"), category.get("name")
        if type(number) is not int or not isinstance(name, str) or number in names or name in names.values():
            raise DataError(
                path,
                found=f"the category {str(category)[:100]}",
                expected="an id and a name, each once",
                fix="correct or rename it",
            )
        names[number] = name
    return names


def _add_image(
    collector: Collector,
    path: Path,
    image: dict[str, Any],
    entries: list[dict[str, Any]],
    names: dict[int, str],
    split: str,
) -> None:
    name = image.get("file_name")
    try:
        if not isinstance(name, str) or not name:
            raise ValueError(f"an image without a file_name: {str(image)[:80]}")
        shapes = [_shape(collector, path, entry, names) for entry in entries]
    except ValueError as error:
        collector.problem(path, found=str(error), expected="COCO's instances", fix="correct or delete the entry")
        return
    file = collector.image_file(path, name)
    if file is None:
        return
    size = size_of(image.get("width"), image.get("height"))
    taken = tuple(shape for shape in shapes if shape is not None)
    image_id = plain_id(name) if path.name.startswith("instances_") else None
    image_id = image_id or collector.index.id_of(file)
    collector.add(image_id, AnnotatedImage(file=file, source=path, shapes=taken, size=size), split)


def _shape(collector: Collector, path: Path, entry: dict[str, Any], names: dict[int, str]) -> Shape | None:
    place = f"annotation {entry.get('id')}"
    category, outline = entry.get("category_id"), entry.get("segmentation")
    if type(category) is not int or category not in names:
        raise ValueError(f"category_id {str(category)[:40]} of no category in {place}")
    label = names[category]
    crowd = str(entry.get("iscrowd", 0)).strip().lower() in ("1", "true")
    try:
        if isinstance(outline, dict):
            size = size_of(*reversed(outline.get("size") or (0, 0)))
            return Shape(label, Bitmap(partial(decode_coco, outline), size=size), place, is_crowd=crowd)
        if outline:
            rings = tuple(pairs(part) for part in outline)
            return shape_of(label, Polygons(rings), place, collector, path, is_crowd=crowd)
        left, top, width, height = list(entry.get("bbox") or ())
        box = rectangle(left, top, left + width, top + height)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{error} in {place} ({label})") from None
    return Shape(label, box, place, is_crowd=crowd, is_extent=True)
