"""COCO's average precision, by faster-coco-eval."""

from collections.abc import Sequence

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

MAX_DETECTIONS = 100
"""Of a class in an image, as COCO has it for boxes."""


def average_precision(detected: np.ndarray, truth: np.ndarray, classes: int, thresholds: Sequence[float]) -> np.ndarray:
    """(thresholds, classes) in [0, 1]; nan for a class without an object that is not difficult.

    Rows of the tables: image, label, box XYXY, then the score or whether the object is difficult (COCO: a crowd).
    """
    images = [{"id": int(image)} for image in np.unique(np.concatenate([detected[:, 0], truth[:, 0]]))]
    categories = [{"id": label, "name": str(label)} for label in range(classes)]
    truths = [_annotation(number, row) | {"iscrowd": int(row[6])} for number, row in enumerate(truth, start=1)]
    founds = [_annotation(number, row) | {"score": float(row[6])} for number, row in enumerate(detected, start=1)]
    reference = COCO({"images": images, "categories": categories, "annotations": truths})
    evaluation = COCOeval_faster(reference, reference.loadRes(founds), iouType="bbox")
    evaluation.params.iouThrs = np.array(thresholds)
    evaluation.params.maxDets = [MAX_DETECTIONS]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # (thresholds, 101 recalls, classes); areas of any size
    return np.where(precision > -1, precision, np.nan).mean(axis=1)


def _annotation(number: int, row: np.ndarray) -> dict:
    left, top, right, bottom = (float(edge) for edge in row[2:6])
    return {
        "id": number,
        "image_id": int(row[0]),
        "category_id": int(row[1]),
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
    }
