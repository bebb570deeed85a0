"""Small exports of annotation tools, in each tool's documented structure."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from official_layouts import picture, text

Ring = list[tuple[float, float]]
Drawn = dict[str, list[tuple[str, Ring]]]
"""{file name: [(label, points)]}, in the order in which they were drawn."""
SIZE = (24, 16)
SHAPES: Drawn = {
    "first.png": [
        ("road", [(1.2, 3.3), (20.6, 2.1), (22.4, 14.7), (9, 6.5)]),
        ("car", [(8, 4), (15, 4), (15, 10), (8, 10)]),
    ],
    "größe 2.png": [("car", [(-5, 2), (30.5, 2.2), (12.1, 19)])],
}


def json_text(path: Path, content) -> None:
    text(path, json.dumps(content))


def labelme_shape(label: str, points, kind: str = "polygon", **more) -> dict:
    return {
        "label": label,
        "points": [list(point) for point in points],
        "group_id": None,
        "shape_type": kind,
        "flags": {},
    } | more


def labelme_file(path: Path, image: str, shapes: list[dict], size=SIZE, **more) -> None:
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None}
    json_text(path, content | {"imageHeight": size[1], "imageWidth": size[0]} | more)


def labelme(root: Path, drawn: Drawn = SHAPES) -> None:
    for name, shapes in drawn.items():
        picture(root / name, SIZE)
        labelme_file((root / name).with_suffix(".json"), name, [labelme_shape(*shape) for shape in shapes])


def coco_content(drawn: Drawn, first_id: int = 7) -> dict:
    labels = sorted({label for shapes in drawn.values() for label, _ in shapes})
    categories = [{"id": 3 + 2 * i, "name": label, "supercategory": ""} for i, label in enumerate(labels)]
    images = [
        {"id": first_id + i, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for i, name in enumerate(drawn)
    ]
    annotations = []
    for i, shapes in enumerate(drawn.values()):
        for label, points in shapes:
            (left, top), (right, bottom) = np.min(points, 0).tolist(), np.max(points, 0).tolist()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": first_id + i,
                    "category_id": 3 + 2 * labels.index(label),
                    "segmentation": [[value for point in points for value in point]],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": 1.0,
                    "iscrowd": 0,
                }
            )
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def coco(root: Path, drawn: Drawn = SHAPES) -> None:
    for name in drawn:
        picture(root / "images" / name, SIZE)
    json_text(root / "result.json", coco_content(drawn))


def yolo(root: Path, drawn: Drawn = SHAPES) -> None:
    labels = sorted({label for shapes in drawn.values() for label, _ in shapes})
    text(
        root / "data.yaml",
        f"path: ../datasets/mine\ntrain: images/train\nval: images/val\nnames: {dict(enumerate(labels))}\n",
    )
    for split, (name, shapes) in zip(("train", "val", *["train"] * len(drawn)), drawn.items(), strict=False):
        picture(root / "images" / split / name, SIZE)
        shares = [(labels.index(label), np.divide(points, SIZE).ravel().tolist()) for label, points in shapes]
        rows = [" ".join(map(repr, (number, *values))) for number, values in shares]
        text((root / "labels" / split / name).with_suffix(".txt"), "\r\n".join(rows) + "\r\n")


def cvat_xml(images: str, labels=("car", "road")) -> str:
    names = "".join(f"<label><name>{name}</name><color>#fa3253</color><type>any</type></label>" for name in labels)
    meta = f"<meta><task><id>1</id><labels>{names}</labels></task><dumped>2026-01-01</dumped></meta>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{images}</annotations>\n'


def cvat_image(name: str, shapes: str, size=SIZE, more: str = "") -> str:
    return f'<image id="0" name={quoteattr(name)} width="{size[0]}" height="{size[1]}" {more}>{shapes}</image>'


def cvat_polygon(label: str, points: Ring, z_order: int = 0) -> str:
    listed = ";".join(f"{x},{y}" for x, y in points)
    return f'<polygon label="{label}" source="manual" occluded="0" points="{listed}" z_order="{z_order}"></polygon>'


def cvat(root: Path, drawn: Drawn = SHAPES) -> None:
    images = ""
    for name, shapes in drawn.items():
        picture(root / "images" / name, SIZE)
        # z_order counts, not the order in the file.
        turned = list(enumerate(shapes))[::-1]
        images += cvat_image(name, "".join(cvat_polygon(*shape, z_order=z) for z, shape in turned))
    text(root / "annotations.xml", cvat_xml(images))


def label_studio_result(kind: str, label: str, value: dict, size=SIZE) -> dict:
    return {
        "id": "x",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": 0,
        "value": value | {kind: [label]},
    }


def label_studio_polygon(label: str, points: Ring) -> dict:
    percent = [[100 * x / SIZE[0], 100 * y / SIZE[1]] for x, y in points]
    return label_studio_result("polygonlabels", label, {"points": percent, "closed": True})


def label_studio_brush(label: str, pixels: np.ndarray) -> dict:
    size = (pixels.shape[1], pixels.shape[0])
    return label_studio_result("brushlabels", label, {"format": "rle", "rle": encode_brush(pixels)}, size)


def label_studio_task(number: int, image: str, results: list[dict], **more) -> dict:
    annotation = {"id": number, "was_cancelled": False, "ground_truth": False, "result": results} | more
    return {"id": number, "data": {"image": image}, "annotations": [annotation], "predictions": []}


def label_studio(root: Path, drawn: Drawn = SHAPES) -> None:
    tasks = []
    for number, (name, shapes) in enumerate(drawn.items(), start=1):
        picture(root / name, SIZE)
        results = [label_studio_polygon(*shape) for shape in shapes]
        tasks.append(label_studio_task(number, f"/data/upload/1/3f2a9bc1-{name}", results))
    json_text(root / "project.json", tasks)


EXPORTS = {"labelme": labelme, "coco": coco, "yolo": yolo, "cvat": cvat, "label-studio": label_studio}


def encode_coco(pixels: np.ndarray) -> dict[str, Any]:
    """(H, W) bool -> COCO's run lengths as numbers, which every tool reads."""
    return {"size": list(pixels.shape), "counts": _to_counts(pixels.T.ravel())}


def _to_counts(flat: np.ndarray) -> list[int]:
    changes = np.flatnonzero(np.diff(flat.astype(np.int8), prepend=0))
    return np.diff(changes, prepend=0, append=flat.size).tolist()


def encode_brush(pixels: np.ndarray) -> list[int]:
    """(H, W) bool -> Label Studio's brush strokes, white where painted and transparent elsewhere."""
    flat = np.repeat(pixels.ravel().astype(np.uint8) * 255, 4)
    lengths = (3, 7, 11, 15)  # bits less one of a run's length
    out = [f"{flat.size:032b}", f"{7:05b}", *(f"{length:04b}" for length in lengths)]
    starts = np.flatnonzero(np.diff(flat.astype(np.int16), prepend=-1))
    ends = np.append(starts[1:], flat.size)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        out += _runs(end - start, int(flat[start]), lengths)
    text = "".join(out)
    text += "0" * (-len(text) % 8)
    return np.packbits(np.frombuffer(text.encode(), dtype=np.uint8) - 48).tolist()


def _runs(length: int, value: int, lengths: Sequence[int]) -> list[str]:
    """A run of one value as codes, each of at most 65536 values."""
    codes = []
    while length:
        part = min(length, 1 << 16)
        kind = next(i for i, bits in enumerate(lengths) if part - 1 < 1 << (bits + 1))
        codes.append(f"1{kind:02b}{part - 1:0{lengths[kind] + 1}b}{value:08b}")
        length -= part
    return codes
