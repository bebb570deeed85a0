"""What tests of annotation files compare masks and messages with."""

import numpy as np
from annotation_exports import SIZE

from tadp_heads.data.check.folder import check_folder
from tadp_heads.data.readers.user_folder import open_folder


def cast_rays(points, size=SIZE) -> np.ndarray:
    """(H, W) bool: whether a ray from the pixel's centre straight up crosses the outline an odd number of times."""
    width, height = size
    inside = np.zeros((height, width), dtype=bool)
    for row in range(height):
        for column in range(width):
            x, y = column + 0.5, row + 0.5
            for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
                if (x1 > x) != (x2 > x) and y > y1 + (x - x1) * (y2 - y1) / (x2 - x1):
                    inside[row, column] ^= True
    return inside


def drawn(shapes, ids, size=SIZE, unlabelled=0) -> np.ndarray:
    """(H, W) ids of shapes, later ones over earlier ones."""
    expected = np.full(size[::-1], unlabelled)
    for label, points in shapes:
        expected[cast_rays(points, size)] = ids[label]
    return expected


def masks_of(root, split=None):
    dataset = open_folder(root, "segmentation", split)
    return {sample_id: dataset.read(sample_id).target.numpy() for sample_id in dataset.ids}


def problems(root, task="segmentation"):
    (report,) = check_folder(root, task)
    return "\n".join(report.problems)


def notes(root, task="segmentation"):
    (report,) = check_folder(root, task)
    return "\n".join(report.warnings)
