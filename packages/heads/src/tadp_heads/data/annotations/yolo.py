"""YOLO: a text file per image, of polygons (segmentation) or boxes (detection), and data.yaml."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tadp_heads.data.annotations.collector import Collector, pairs, shape_of
from tadp_heads.data.annotations.shapes import AnnotatedImage, Annotations, Polygons, Shape
from tadp_heads.data.errors import DataError
from tadp_heads.data.files import is_hidden, read_lines
from tadp_heads.data.readers.split_files import CLASSES_FILE
from tadp_heads.data.safe_paths import inside

_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_SPLITS = ("train", "val", "test")
_LARGEST_YAML = 1 << 20
_CORNERS = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
"""Of a box of side 1 around 0."""
_FARTHEST_SHARE = 1.0
"""From the image's centre; points lie a little outside at most, and pixels in place of shares far outside."""


def is_yolo(root: Path) -> bool:
    """Whether there is a data.yaml of names, or a folder labels/ of text files next to classes.txt."""
    if any((root / name).is_file() for name in _YAML):
        return True
    return (root / CLASSES_FILE).is_file() and any(True for _ in (root / "labels").rglob("[!.]*.txt"))


def read_yolo(root: Path) -> Annotations:
    """Rows "class x1 y1 x2 y2 ..." are polygons, "class x y width height" boxes, in shares of the image.

    An image without a text file has no objects, as in training with Ultralytics. Coordinates are those of the image as
    its EXIF tag turns it.
    """
    collector = Collector(root, "YOLO")
    config = next((root / name for name in _YAML if (root / name).is_file()), None)
    values = {} if config is None else _read_yaml(inside(root, config))
    names = read_lines(root / CLASSES_FILE, "class names") if config is None else _names(config, values)
    places = dict(_split_places(collector, root, config or root, values))
    files = dict.fromkeys(file for part in places.values() for file in part) or collector.index.files.values()
    for file in files:
        labels = _label_file(root, file)
        if labels is not None or _is_in_images(root, file):
            _add(collector, file, labels, names)
    for split, part in places.items():
        for file in part:
            collector.in_split(collector.index.id_of(file), split)
    return collector.finish(names)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_YAML:
            raise ValueError("more than 1 MiB")
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        found = " ".join(str(error).split())[:200]
        raise DataError(path, found=f"no valid YAML ({found})", expected="YOLO's data.yaml", fix="correct it") from None
    if not isinstance(values, dict):
        raise DataError(path, found=type(values).__name__, expected="a table with names", fix="correct it")
    return values


def _names(path: Path, values: dict[str, Any]) -> tuple[str, ...]:
    """Class names by number, of a list or of a table {number: name}."""
    names = values.get("names")
    if isinstance(names, dict) and sorted(names, key=str) == sorted(range(len(names)), key=str):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or len(set(map(str, names))) < len(names):
        raise DataError(
            path,
            found=f"names {str(names)[:80]}",
            expected="a list of names, or {0: name, 1: name, ...}",
            fix="correct it",
        )
    return tuple(str(name) for name in names)


def _split_places(
    collector: Collector, root: Path, config: Path, values: dict[str, Any]
) -> Iterator[tuple[str, list[Path]]]:
    """The image files of each split that data.yaml names by folders, or by lists of paths."""
    for split in _SPLITS:
        files: list[Path] = []
        given = values.get(split) or ([values["valid"]] if split == "val" and values.get("valid") else [])
        for name in given if isinstance(given, list) else [given]:
            files += _images_at(collector, root, config, str(values.get("path") or ""), str(name))
        if files:
            yield split, list(dict.fromkeys(files))


def _images_at(collector: Collector, root: Path, config: Path, base: str, name: str) -> list[Path]:
    """Images of a folder or a list below `root`, where the file may name the folder as it was on another machine."""
    below = [part for part in Path(name.replace("\\", "/")).parts if part not in ("..", ".", "/")]
    inner = [part for part in Path(base.replace("\\", "/")).parts if part not in ("..", ".", "/")]
    starts = [root.joinpath(*inner, *below), root.joinpath(*below)]
    if re.match(r"/|\\|\w:", name):
        starts += [root.joinpath(*below[start:]) for start in range(1, len(below))]
    for place in starts:
        if place.is_dir():
            folder = inside(root, place, config)
            return [file for file in collector.index.files.values() if folder in file.parents]
        if os.path.isfile(place) and place.suffix == ".txt":
            found = [collector.image_file(place, line) for line in read_lines(inside(root, place, config), "images")]
            return [file for file in found if file is not None]
    collector.problem(config, found=f"no folder or list {name!r}", expected="images below the folder", fix="correct it")
    return []


def _is_in_images(root: Path, file: Path) -> bool:
    return "images" in file.relative_to(root).parts[:-1]


def _label_file(root: Path, file: Path) -> Path | None:
    """labels/.../NAME.txt for images/.../NAME.jpg, or a text file next to the image."""
    relative = file.relative_to(root)
    parts = list(relative.parts)
    if "images" in parts[:-1]:
        last = len(parts) - 2 - parts[:-1][::-1].index("images")
        parts[last] = "labels"
    for place in (
        root.joinpath(*parts).with_suffix(".txt"),
        root / "labels" / relative.with_suffix(".txt"),
        file.with_suffix(".txt"),
    ):
        if os.path.isfile(place) and not is_hidden(place.relative_to(root)):
            return inside(root, place)
    return None


def _add(collector: Collector, file: Path, labels: Path | None, names: tuple[str, ...]) -> None:
    source = labels or file
    rows = [] if labels is None else labels.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    seen: dict[str, Shape | None] = {}
    try:
        for number, row in enumerate(rows, start=1):
            key = " ".join(row.split())
            if key in seen:
                collector.note(source, f"line {number}", "it repeats an earlier one")
            elif key:
                seen[key] = _shape(collector, source, number, row.split(), names)
    except ValueError as error:
        collector.problem(
            source, found=str(error), expected="class x1 y1 x2 y2 ... or class x y width height", fix="correct the line"
        )
        return
    taken = tuple(shape for shape in seen.values() if shape is not None)
    collector.add(collector.index.id_of(file), AnnotatedImage(file=file, source=source, shapes=taken))


def _shape(collector: Collector, path: Path, number: int, row: list[str], names: tuple[str, ...]) -> Shape | None:
    place = f"line {number}"
    try:
        label = names[int(row[0])] if row[0].isdecimal() else ""
    except IndexError:
        label = ""
    if not label:
        raise ValueError(f"class {row[0][:40]!r} in {place}, of {len(names)} classes")
    try:
        is_box = len(row) in (5, 6)  # a sixth number is the score of a prediction
        points = pairs(row[1:5] if is_box else row[1:])
        if (abs(points - 0.5) > _FARTHEST_SHARE).any():
            raise ValueError("coordinates that are no shares of the image's width and height")
        if is_box:
            centre, sides = points
            return Shape(
                label, Polygons((centre + _CORNERS * sides,), is_relative=True, is_box=True), place, is_extent=True
            )
    except ValueError as error:
        raise ValueError(f"{error} in {place}") from None
    return shape_of(label, Polygons((points,), is_relative=True), place, collector, path)
