"""CVAT's own XML, "CVAT for images 1.1": all images of a task or project in annotations.xml."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

from tadp_heads.data.annotations.collector import Collector, ellipse, rectangle, ring, shape_of
from tadp_heads.data.annotations.image_index import plain_id
from tadp_heads.data.annotations.json_files import size_of
from tadp_heads.data.annotations.run_lengths import decode_cvat
from tadp_heads.data.annotations.shapes import AnnotatedImage, Annotations, Bitmap, Polygons, Shape
from tadp_heads.data.annotations.splits import split_key
from tadp_heads.data.errors import DataError
from tadp_heads.data.files import is_hidden
from tadp_heads.data.readers.xml_files import read_xml
from tadp_heads.data.safe_paths import inside

_ROOT = re.compile(rb"<annotations[\s>]")
_HEAD = 4096
"""Bytes at the beginning of a file in which its first element stands."""
_WITHOUT_AREA = ("polyline", "points", "cuboid", "skeleton")


def is_cvat(root: Path) -> bool:
    """Whether an XML file in the folder has CVAT's root element; VOC's is <annotation>."""
    return any(True for _ in _files(root))


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*.xml")):
        if not is_hidden(path.relative_to(root)) and path.is_file():
            with inside(root, path).open("rb") as file:
                if _ROOT.search(file.read(_HEAD)):
                    yield path


def read_cvat(root: Path) -> Annotations:
    """Elements polygon, box, ellipse and mask are regions; a higher z_order covers a lower one."""
    collector, labels = Collector(root, "CVAT for images XML"), []
    for path in _files(root):
        try:
            labels += _add(collector, path)
        except DataError as error:
            collector.annotations.problems.append(str(error))
    return collector.finish(labels or None)


def _add(collector: Collector, path: Path) -> list[str]:
    """The images of one file; returns the labels that its <meta> declares."""
    top = read_xml(path, "CVAT for images XML")
    if top.find("track") is not None:
        raise DataError(
            path, found="tracks of a video", expected="CVAT for images 1.1", fix="export in that format, by frames"
        )
    for image in top.iter("image"):
        _add_image(collector, path, image)
    names = ((name.text or "").strip() for name in top.iterfind("meta//labels/label/name"))
    return [name for name in names if name]


def _add_image(collector: Collector, path: Path, image: Element) -> None:
    name = image.get("name") or ""
    try:
        if not name:
            raise ValueError("an <image> without a name")
        shapes = [_shape(collector, path, number, one) for number, one in enumerate(image, start=1)]
    except ValueError as error:
        collector.problem(
            path, found=f"{error} of {name!r}", expected="CVAT for images XML", fix="correct or delete the shape"
        )
        return
    file = collector.image_file(path, name)
    if file is None:
        return
    sides = [int(text) if (text := image.get(side) or "").isdecimal() else 0 for side in ("width", "height")]
    tags = tuple(tag.get("label") or "" for tag in image.iterfind("tag"))
    taken = tuple(shape for shape in shapes if shape is not None)
    annotated = AnnotatedImage(file=file, source=path, shapes=taken, size=size_of(*sides), tags=tags)
    split = split_key(image.get("subset") or "")
    collector.add(plain_id(name) or collector.index.id_of(file), annotated, split)


def _shape(collector: Collector, path: Path, number: int, element: Element) -> Shape | None:
    kind, label = element.tag, element.get("label") or ""
    if kind == "tag":
        return None
    place = f"{kind} {number}"
    if not label:
        raise ValueError(f"{place} without a label")
    if kind in _WITHOUT_AREA:
        collector.note(path, f"{place} ({label})", f"a {kind} has no area")
        return None
    try:
        region, z_order = _region(element), int(element.get("z_order") or 0)
    except ValueError as error:
        raise ValueError(f"{error} in {place} ({label})") from None
    if region is None:
        raise ValueError(f"the unknown element {place}")
    group = element.get("group_id") or "0"
    return shape_of(label, region, place, collector, path, z_order=z_order, group="" if group == "0" else group)


def _region(element: Element) -> Polygons | Bitmap | None:
    rotation = float(element.get("rotation") or 0)
    if element.tag == "polygon":
        texts = (element.get("points") or "").split(";")
        return Polygons((ring([text.split(",") for text in texts if text.strip()]),))
    if element.tag == "box":
        left, top, right, bottom = (element.get(side) for side in ("xtl", "ytl", "xbr", "ybr"))
        return rectangle(left, top, right, bottom, rotation)
    if element.tag == "ellipse":
        x, y, radius_x, radius_y = (element.get(name) for name in ("cx", "cy", "rx", "ry"))
        return ellipse(x, y, radius_x, radius_y, rotation)
    if element.tag == "mask":
        column, row, width, height = (int(element.get(side) or "x") for side in ("left", "top", "width", "height"))
        return Bitmap(partial(decode_cvat, element.get("rle") or "", height, width), column, row)
    return None
