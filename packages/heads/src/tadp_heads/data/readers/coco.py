"""Object detection in COCO's layout: one JSON file of annotations and a folder of images."""

import os
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torchvision import tv_tensors

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import require_folder
from tadp_heads.data.image_io import frame_warnings, read_in_frame, require_declared
from tadp_heads.data.inspection import Inspection
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import DetectionTarget, Sample, SampleDataset, Transform
from tadp_heads.pretrained import read_json

_FARTHEST = 1e6
"""Pixels; no image has a side of so many."""


class CocoDetection(SampleDataset):
    """Images of a COCO instances file; `root` is the folder that their `file_name` is relative to.

    Ids are the file names without suffix. Classes are the categories in the order of their ids, which need not be
    gapless. Crowd regions come as difficult objects. Objects without area, of which COCO's train2017 has two, are left
    out; `skipped` has their annotation ids.
    """

    task = "detection"

    def __init__(self, root: str | Path, annotation_file: str | Path, transform: Transform | None = None):
        self.root = require_folder(Path(root), "the folder of COCO's images")
        self.path = path = Path(annotation_file)
        content = read_json(path)
        tables = {name: _table(path, content, name) for name in ("images", "annotations", "categories")}
        categories = sorted(tables["categories"], key=lambda category: _field(path, category, "id", int))
        labels = {category["id"]: label for label, category in enumerate(categories)}
        images = {_field(path, image, "id", int): _field(path, image, "file_name", str) for image in tables["images"]}
        objects = defaultdict(list)
        self.skipped = []
        for annotation in tables["annotations"]:
            image_id, box, label, crowd = _read_annotation(path, annotation, images, labels)
            if box[0] < box[2] and box[1] < box[3]:
                objects[images[image_id]].append((box, label, crowd))
            else:
                self.skipped.append(annotation.get("id"))
        for name in images.values():
            _check_relative(path, name)
        self.files = {Path(name).with_suffix("").as_posix(): name for name in images.values()}
        if len(self.files) < len(tables["images"]):
            raise DataError(
                path,
                found=f"{len(tables['images'])} images with {len(self.files)} different ids and names",
                expected="each image once",
                fix="delete the repetitions",
            )
        declared = {image["file_name"]: _declared(image) for image in tables["images"]}
        self.sizes = {sample_id: declared[name] for sample_id, name in self.files.items()}
        self.objects = {sample_id: objects[name] for sample_id, name in self.files.items()}
        names = [_field(path, category, "name", str) for category in categories]
        _check_categories(path, categories)
        super().__init__(tuple(self.files), names, transform=transform)

    @cached_property
    def image_files(self) -> Mapping[str, Path]:
        """{id: image file}."""
        return {sample_id: self.root / name for sample_id, name in self.files.items()}

    def read(self, sample_id: str) -> Sample:
        """The sample as stored on disk."""
        path = inside(self.root, self.root / self.files[sample_id], self.path)
        image = read_in_frame(path, self.sizes[sample_id])
        require_declared(self.path, self.sizes[sample_id], path, image)
        things = self.objects[sample_id]
        height, width = size = tuple(image.shape[-2:])
        boxes = torch.tensor([box for box, _, _ in things], dtype=torch.float32).reshape(-1, 4)
        if boxes.numel() and (boxes.min() < -1 or (boxes[:, 2:] > boxes.new_tensor([width, height]) + 1).any()):
            raise DataError(
                self.path,
                found=f"a box of {self.files[sample_id]} outside its {width}x{height} pixels",
                expected="[left, top, width, height] inside the image",
                fix="correct or delete the annotation",
            )
        target = DetectionTarget(
            boxes=tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
            labels=torch.tensor([label for _, label, _ in things], dtype=torch.int64),
            difficult=torch.tensor([crowd for _, _, crowd in things], dtype=torch.bool),
            xml_frame=torch.tensor(False),
        )
        return Sample(image, target, sample_id)

    def inspect(self, sample_id: str) -> Inspection:
        """As for every data set, and whether the image is turned otherwise than its boxes."""
        inspection = super().inspect(sample_id)
        inspection.warnings += frame_warnings(self.root / self.files[sample_id], self.sizes[sample_id])
        return inspection


def coco_split(root: str | Path, split: str, transform: Transform | None = None) -> CocoDetection:
    """COCO as downloaded: `root`/annotations/instances_SPLIT.json and `root`/SPLIT/, e.g. split "val2017"."""
    root = Path(root)
    annotation_file = inside(root, root / "annotations" / f"instances_{split}.json")
    return CocoDetection(inside(root, root / split), annotation_file, transform)


def _table(path: Path, content: Any, name: str) -> list[dict[str, Any]]:
    value = content.get(name) if isinstance(content, dict) else None
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise DataError(
            path,
            found=f"no list {name!r}",
            expected="a COCO instances file with images, annotations and categories",
            fix="pass the instances file, not one of captions or results",
        )
    return value


def _field(path: Path, entry: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(entry.get(name), kind):
        raise DataError(
            path, found=f"entry {str(entry)[:200]}", expected=f"{name!r} as {kind.__name__}", fix="correct the entry"
        )
    return entry[name]


def _read_annotation(
    path: Path, annotation: dict[str, Any], images: dict[int, str], labels: dict[int, int]
) -> tuple[int, tuple[float, ...], int, bool]:
    """Image id, box XYXY, label, crowd."""
    image_id, category = _field(path, annotation, "image_id", int), _field(path, annotation, "category_id", int)
    box = _field(path, annotation, "bbox", list)
    problem = None
    if image_id not in images:
        problem = f"image_id {image_id} of no image"
    elif category not in labels:
        problem = f"category_id {category} of no category"
    elif len(box) != 4 or not all(map(_is_coordinate, box)) or min(box[2:]) < 0:
        problem = f"bbox {str(box)[:100]}"
    if problem:
        raise DataError(
            path,
            found=f"{problem} in annotation {annotation.get('id')}",
            expected="ids of the file's own tables and a bbox [left, top, width >= 0, height >= 0]",
            fix="correct or delete the annotation",
        )
    left, top, width, height = box
    return image_id, (left, top, left + width, top + height), labels[category], _is_crowd(path, annotation)


_CROWD = {"0": False, "1": True, "false": False, "true": True, "none": False}


def _is_crowd(path: Path, annotation: dict[str, Any]) -> bool:
    """`iscrowd`, also as the text that some tools write."""
    given = str(annotation.get("iscrowd", 0)).strip().lower()
    if given not in _CROWD:
        raise DataError(
            path,
            found=f"iscrowd {annotation['iscrowd']!r} in annotation {annotation.get('id')}",
            expected="0 or 1",
            fix="correct the annotation",
        )
    return _CROWD[given]


def _check_categories(path: Path, categories: list[dict[str, Any]]) -> None:
    """Raise for two categories of one id or of one name: which one an object has would be a guess."""
    for key in ("id", "name"):
        seen: dict[Any, dict[str, Any]] = {}
        for category in categories:
            other = seen.setdefault(category[key], category)
            if other is not category:
                raise DataError(
                    path,
                    found=f"two categories with the {key} {category[key]!r}: {_named(other)} and {_named(category)}",
                    expected="every id and every name once",
                    fix="merge the two, or rename one",
                )


def _named(category: dict[str, Any]) -> str:
    return f"{str(category['name'])[:50]!r} (id {category['id']})"


def _declared(image: dict[str, Any]) -> tuple[int, int] | None:
    """(width, height) as the file says; None where it does not."""
    width, height = image.get("width", 0), image.get("height", 0)
    return (width, height) if all(type(side) is int and side > 0 for side in (width, height)) else None


def _is_coordinate(value: Any) -> bool:
    """A number that a float of 32 bits holds; JSON has numbers of any size, and Python's reader takes NaN."""
    return type(value) in (int, float) and abs(value) < _FARTHEST


def _check_relative(path: Path, name: str) -> None:
    """Refuse a file name that leads out of the folder of images; links are checked when the image is read."""
    if "\0" in name or os.path.isabs(name) or ".." in Path(name).parts:
        raise DataError(
            path,
            found=f"file_name {name!r}, which leads out of the folder of images",
            expected="the path of an image below that folder",
            fix="correct the entry",
        )
