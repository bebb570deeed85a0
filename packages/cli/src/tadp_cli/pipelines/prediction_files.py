"""A prediction as files in formats that other tools open; each is there whole or not at all."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tadp_cli._io import replacing, write_json
from tadp_cli.run.output_paths import below
from tadp_heads import DepthResult, DetectionResult, SegmentationResult
from tadp_heads.depth.files import write_depth_npy, write_depth_png
from tadp_heads.results import Result

LARGEST_PNG_METRES = 65.535
"""What 16 bits of millimetres hold; the .npy has no such limit."""


def write_prediction(result: Result, out: Path, image_id: str, file_name: str) -> None:
    """ID_overlay.png, and before it the raw result, of the image's own size.

    segmentation: ID_mask.png, class ids with the palette. depth: ID_depth.png, 16-bit millimetres, and ID_depth.npy,
    float32 metres. detection: ID_boxes.json, a COCO data set of this one image whose annotations have a score.
    """
    out.mkdir(parents=True, exist_ok=True)
    place = below(out, image_id)
    out, stem = place.parent, place.name
    out.mkdir(parents=True, exist_ok=True)
    if isinstance(result, DepthResult):
        write_depth_png(out / f"{stem}_depth.png", result.metres.clamp(max=LARGEST_PNG_METRES))
        write_depth_npy(out / f"{stem}_depth.npy", result.metres)
    elif isinstance(result, DetectionResult):
        write_json(out / f"{stem}_boxes.json", coco_form(result, file_name))
    else:
        save_png(palette_mask(result), out / f"{stem}_mask.png")
    save_png(result.overlay(), out / f"{stem}_overlay.png")


def is_written(out: Path, image_id: str) -> bool:
    """Whether the overlay is there, which is written last."""
    return os.path.isfile(below(out, f"{image_id}_overlay.png"))  # False for a name that is too long


def palette_mask(result: SegmentationResult) -> Image.Image:
    """Class ids as an indexed image, whose palette any viewer shows."""
    mask = Image.fromarray(result.ids.cpu().numpy().astype(np.uint8), mode="P")
    mask.putpalette([channel for colour in result.palette for channel in colour])
    return mask


def coco_form(result: DetectionResult, file_name: str) -> dict[str, Any]:
    """COCO's data set form: ids from 1, boxes as x, y, width, height in pixels; an annotation's score in [0, 1]."""
    annotations = []
    rows = zip(result.boxes.tolist(), result.scores.tolist(), result.labels.tolist(), strict=True)
    for number, ((left, top, right, bottom), score, label) in enumerate(rows, start=1):
        width, height = right - left, bottom - top
        annotations.append(
            {
                "id": number,
                "image_id": 1,
                "category_id": label + 1,
                "bbox": [left, top, width, height],
                "area": width * height,
                "iscrowd": 0,
                "score": score,
            }
        )
    return {
        "images": [{"id": 1, "file_name": file_name, "width": result.image.width, "height": result.image.height}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(result.names, start=1)],
        "annotations": annotations,
    }


def save_png(image: Image.Image, path: Path) -> None:
    """Whole or not at all."""
    with replacing(path) as partial:
        image.save(partial, format="PNG")
