"""Results as files in formats that other tools open; each is there whole or not at all."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from tadp_heads.atomic_files import replacing, write_json
from tadp_heads.data.sample import Color

LARGEST_PNG_METRES = 65.535
"""What 16 bits of millimetres hold; the .npy has no such limit."""


def save_png(image: Image.Image, path: Path) -> None:
    """Whole or not at all."""
    with replacing(path) as partial:
        image.save(partial, format="PNG")


def save_mask(ids: Tensor, palette: tuple[Color, ...], path: Path) -> None:
    """Class ids (H, W) as an indexed PNG, whose palette any viewer shows."""
    mask = Image.fromarray(ids.cpu().numpy().astype(np.uint8), mode="P")
    mask.putpalette([channel for color in palette for channel in color])
    save_png(mask, path)


def save_confidence(confidence: Tensor, path: Path) -> None:
    """Probabilities (H, W) in [0, 1] as an 8-bit grey PNG, rounded to 1/255."""
    save_png(Image.fromarray((confidence * 255).round().byte().cpu().numpy()), path)


def save_depth(metres: Tensor, folder: Path, stem: str) -> None:
    """Metres (H, W) as STEM_depth.png, 16-bit millimetres, and STEM_depth.npy, float32 metres."""
    from tadp_heads.depth.files import write_depth_npy, write_depth_png  # its package imports the results

    write_depth_png(folder / f"{stem}_depth.png", metres.clamp(max=LARGEST_PNG_METRES))
    write_depth_npy(folder / f"{stem}_depth.npy", metres)


def save_boxes(
    boxes: Tensor, scores: Tensor, labels: Tensor, names: tuple[str, ...], image: dict[str, Any], path: Path
) -> None:
    """COCO's data set form: ids from 1, boxes as x, y, width, height in pixels; an annotation's score in [0, 1].

    `boxes` (N, 4) XYXY; `image`: its file_name, width and height.
    """
    annotations = []
    rows = zip(boxes.tolist(), scores.tolist(), labels.tolist(), strict=True)
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
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    write_json(path, {"images": [{"id": 1, **image}], "categories": categories, "annotations": annotations})
