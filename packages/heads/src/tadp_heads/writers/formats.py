"""Predicted objects in the formats of annotation tools, by name."""

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tadp_heads._registry import Registry
from tadp_heads.atomic_files import write_json, write_text
from tadp_heads.writers.objects import PredictedImage, PredictedObject


@dataclass(frozen=True)
class PredictionFormat:
    """How the objects of all images become files below a folder."""

    write: Callable[[Sequence[PredictedImage], Sequence[str], Path], None]
    """(images, class names, folder)."""


def write_labelme(images: Sequence[PredictedImage], classes: Sequence[str], out: Path) -> None:
    """ID.json for each image, with the path from there to the image."""
    for image in images:
        path = out / f"{image.id}.json"
        shapes: list[dict[str, Any]] = [
            {
                "label": one.label,
                "points": one.ring or [list(one.box[:2]), list(one.box[2:])],
                "shape_type": "polygon" if one.ring else "rectangle",
                "group_id": None,
                "description": "" if one.score is None else f"score {one.score:.4f}",
                "flags": {},
            }
            for one in image.objects
        ]
        content: dict[str, Any] = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": _relative(image.file, path.parent),
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        write_json(path, content)


def write_coco(images: Sequence[PredictedImage], classes: Sequence[str], out: Path) -> None:
    """annotations.json of all images: ids from 1 in the order of the images' names, an annotation's score in [0, 1]."""
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    rows = [
        {"image_id": number, "category_id": numbers[one.label], **_coco_shape(one)}
        for number, image in enumerate(images, start=1)
        for one in image.objects
    ]
    content = {
        "images": [
            {"id": number, "file_name": _name(image), "width": image.width, "height": image.height}
            for number, image in enumerate(images, start=1)
        ],
        "categories": [{"id": number, "name": name, "supercategory": ""} for name, number in numbers.items()],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, start=1)],
    }
    write_json(out / "annotations.json", content)


def write_yolo(images: Sequence[PredictedImage], classes: Sequence[str], out: Path) -> None:
    """labels/ID.txt and data.yaml; scores, which training must not read as coordinates, are in scores.csv."""
    text = io.StringIO()
    scores = csv.writer(text, lineterminator="\n")
    scores.writerow(["image", "line", "class", "score"])
    for image in images:
        rows = []
        for number, one in enumerate(image.objects, start=1):
            rows.append(" ".join([str(classes.index(one.label)), *(f"{value:.8f}" for value in _shares(one, image))]))
            scores.writerow([image.id, number, one.label, "" if one.score is None else f"{one.score:.4f}"])
        write_text(out / "labels" / f"{image.id}.txt", "".join(f"{row}\n" for row in rows))
    write_text(out / "scores.csv", text.getvalue())
    names = "".join(f"  {number}: {_yaml(name)}\n" for number, name in enumerate(classes))
    write_text(out / "data.yaml", f"path: .\ntrain: images\nval: images\nnames:\n{names}")


def write_voc(images: Sequence[PredictedImage], classes: Sequence[str], out: Path) -> None:
    """Annotations/ID.xml: boxes whose pixels count from 1 and that include their last one, with a <confidence>."""
    for image in images:
        top = ElementTree.Element("annotation")
        _child(top, "filename", Path(image.file).name)
        size = ElementTree.SubElement(top, "size")
        for name, value in (("width", image.width), ("height", image.height), ("depth", 3)):
            _child(size, name, value)
        for one in image.objects:
            thing = ElementTree.SubElement(top, "object")
            _child(thing, "name", one.label)
            _child(thing, "difficult", 0)
            if one.score is not None:
                _child(thing, "confidence", f"{one.score:.4f}")
            box = ElementTree.SubElement(thing, "bndbox")
            left, upper, right, lower = one.box
            for name, edge in (("xmin", left + 1), ("ymin", upper + 1), ("xmax", right), ("ymax", lower)):
                _child(box, name, f"{edge:.2f}")
        ElementTree.indent(top)
        write_text(out / "Annotations" / f"{image.id}.xml", ElementTree.tostring(top, encoding="unicode") + "\n")
    write_text(out / "classes.txt", "".join(f"{name}\n" for name in classes))


def write_label_studio(images: Sequence[PredictedImage], classes: Sequence[str], out: Path) -> None:
    """tasks.json: tasks with predictions, for Label Studio's import; images by file name, as from local files."""
    tasks = []
    for image in images:
        scores = [one.score for one in image.objects if one.score is not None]
        results = [_label_studio(number, one, image) for number, one in enumerate(image.objects)]
        prediction: dict[str, Any] = {"model_version": "tadp", "result": results}
        if scores:
            prediction["score"] = sum(scores) / len(scores)
        tasks.append({"data": {"image": f"/data/local-files/?d={_name(image)}"}, "predictions": [prediction]})
    write_json(out / "tasks.json", tasks)


WRITERS = Registry(
    "prediction format",
    {
        "labelme": PredictionFormat(write_labelme),
        "coco": PredictionFormat(write_coco),
        "yolo": PredictionFormat(write_yolo),
        "voc": PredictionFormat(write_voc),
        "label-studio": PredictionFormat(write_label_studio),
    },
)


def _coco_shape(one: PredictedObject) -> dict[str, Any]:
    left, top, right, bottom = one.box
    shape: dict[str, Any] = {
        "segmentation": [[value for point in one.ring for value in point]] if one.ring else [],
        "bbox": [left, top, right - left, bottom - top],
        "area": one.area,
        "iscrowd": 0,
    }
    return shape if one.score is None else shape | {"score": one.score}


def _shares(one: PredictedObject, image: PredictedImage) -> list[float]:
    """A polygon's points, or a box's centre and sides, in shares of the image's width and height."""
    sides = (image.width, image.height)
    if one.ring:
        return [value / side for point in one.ring for value, side in zip(point, sides, strict=True)]
    left, top, right, bottom = one.box
    pairs = (((left + right) / 2, (top + bottom) / 2), (right - left, bottom - top))
    return [value / side for pair in pairs for value, side in zip(pair, sides, strict=True)]


def _label_studio(number: int, one: PredictedObject, image: PredictedImage) -> dict[str, Any]:
    """Coordinates are percent of the image's width and height."""
    kind = "polygonlabels" if one.ring else "rectanglelabels"
    shares = [100 * value for value in _shares(one, image)]
    if one.ring:
        points = [list(pair) for pair in zip(shares[::2], shares[1::2], strict=True)]
        value: dict[str, Any] = {"points": points, "closed": True}
    else:
        x, y, width, height = shares
        value = {"x": x - width / 2, "y": y - height / 2, "width": width, "height": height, "rotation": 0}
    result: dict[str, Any] = {
        "id": f"r{number}",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "value": value | {kind: [one.label]},
    }
    return result if one.score is None else result | {"score": one.score}


def _name(image: PredictedImage) -> str:
    """The image's id with the suffix of its file."""
    return f"{image.id}{Path(image.file).suffix}"


def _relative(file: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # on another drive of Windows
        return file


def _child(parent: ElementTree.Element, name: str, value: Any) -> None:
    ElementTree.SubElement(parent, name).text = str(value)


def _yaml(name: str) -> str:
    """A quoted scalar of YAML."""
    return "'" + name.replace("'", "''") + "'"
