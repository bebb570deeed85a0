"""Boxes found in overlapping windows, as those of the whole image."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tadp_heads.detection.detections import Detections
from tadp_heads.tiling.windows import Window

# N boxes.


def merge_windows(found: Sequence[Detections], windows: Sequence[Window], *, shared: float = 0.5) -> Detections:
    """Detections in pixels of their windows -> one list in pixels of the image, the surest first.

    Two boxes of one class from different windows, of which the smaller lies in the other by at least `shared`, are one
    object that a window's edge has cut. It gets the box around both and the higher score.
    """
    shifts = [torch.tensor([w.left, w.top, w.left, w.top], dtype=torch.float32) for w in windows]
    boxes = torch.cat([one["boxes"] + shift for one, shift in zip(found, shifts, strict=True)])
    scores, labels = torch.cat([one["scores"] for one in found]), torch.cat([one["labels"] for one in found])
    source = torch.cat([torch.full((len(one["scores"]),), number) for number, one in enumerate(found)]).tolist()
    order = scores.argsort(descending=True, stable=True)
    boxes, scores, labels = boxes[order].clone(), scores[order], labels[order]
    kept: dict[int, set[int]] = {}  # {row: windows in which it was found}
    for number, row in enumerate(order.tolist()):
        # Two boxes of one window are two objects to the detector, however much they overlap.
        rivals = [other for other in kept if labels[other] == labels[number] and source[row] not in kept[other]]
        inside = _share_of_smaller(boxes[number], boxes[rivals]) if rivals else torch.zeros(0)
        if len(inside) and float(inside.max()) >= shared:
            other = rivals[int(inside.argmax())]
            low, high = torch.minimum(boxes[other], boxes[number]), torch.maximum(boxes[other], boxes[number])
            boxes[other] = torch.cat([low[:2], high[2:]])
            kept[other].add(source[row])
        else:
            kept[number] = {source[row]}
    rows = list(kept)
    return Detections(boxes=boxes[rows], scores=scores[rows], labels=labels[rows])


def _share_of_smaller(box: Tensor, others: Tensor) -> Tensor:
    """(N,): intersection of one box with others, over the smaller area of the two."""
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:], others[:, 2:])
    common = (high - low).clamp(min=0).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    return common / torch.minimum(areas, (box[2:] - box[:2]).prod()).clamp(min=1e-9)
