"""Average precision of boxes by the rules of COCO or of Pascal VOC."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from tadp_heads.data.sample import DetectionTarget
from tadp_heads.detection import coco_rules, voc_rules
from tadp_heads.detection.detections import Detections
from tadp_heads.distributed import rank_and_processes

IOU_THRESHOLDS = tuple(percent / 100 for percent in range(50, 100, 5))

RULES: Mapping[str, Callable[..., np.ndarray]] = {
    "coco": coco_rules.average_precision,
    "voc2007": partial(voc_rules.average_precision, summary=voc_rules.eleven_points),
    "voc2012": partial(voc_rules.average_precision, summary=voc_rules.area),
    "voc2007-paper": partial(voc_rules.as_published, summary=voc_rules.eleven_points),
    "voc2012-paper": partial(voc_rules.as_published, summary=voc_rules.area),
}
"""coco: 101 recall points, 100 detections per class and image, IoU >= threshold; a detection whose best object is taken
may have the next best. voc2007: 11 recall points, voc2012: area; both IoU > threshold, and a second hit is an error.
With -paper: as the paper's code has them, for boxes in the frame of VOC's XML files."""


class AveragePrecision(Metric):
    """AP (mean over IoU 0.50:0.05:0.95), AP50, AP75 in [0, 1], mean over the classes that have an object to be found.

    Difficult objects are neither asked for nor is finding them punished, under all rules; for COCO they are its crowds.
    VOC counts pixels: a box from pixel 0 up to and including pixel 9 is 10 wide. In the frame of `DetectionTarget` such
    a box is [0, 10), so its plain IoU is VOC's own; `inclusive_pixels` adds 1 to all widths and heights and is for
    boxes in the frame of VOC's XML files.
    Under torch.distributed, `compute` joins the boxes of all processes.
    """

    full_state_update = False
    detected: list[Tensor]
    truth: list[Tensor]

    def __init__(self, classes: int | Sequence[str], *, rules: str = "coco", inclusive_pixels: bool = False):
        super().__init__()
        if rules not in RULES:
            raise ValueError(f"unknown rules {rules!r} of average precision; choose from {', '.join(RULES)}")
        if inclusive_pixels and rules not in ("voc2007", "voc2012"):
            raise ValueError(f"inclusive_pixels belongs to the rules voc2007 and voc2012, not to {rules}")
        self.names = tuple(str(i) for i in range(classes)) if isinstance(classes, int) else tuple(classes)
        self.rules = rules
        self.inclusive_pixels = inclusive_pixels
        self.images = 0
        self.set_dtype(torch.float64)
        # rows: image, label, box (4), then the score or whether the object is difficult
        self.add_state("detected", [], dist_reduce_fx="cat")
        self.add_state("truth", [], dist_reduce_fx="cat")

    def update(self, prediction: Detections, target: DetectionTarget) -> None:
        """Adds one image; boxes of both in one frame, save that rules with -paper bring targets that readers gave into
        the frame of VOC's XML files, which their detectors predict in."""
        for name, labels in (("predicted", prediction["labels"]), ("target", target["labels"])):
            if labels.numel() and not (int(labels.min()) >= 0 and int(labels.max()) < len(self.names)):
                raise ValueError(
                    f"{name} labels {int(labels.min())}..{int(labels.max())}: expected 0..{len(self.names) - 1}; "
                    "map the model's classes to those of the data set"
                )
        image = self._image_number()
        self.detected.append(_rows(image, prediction["labels"], prediction["boxes"], prediction["scores"], self.device))
        boxes = voc_rules.xml_boxes(target) if self.rules.endswith("-paper") else target["boxes"]
        self.truth.append(_rows(image, target["labels"], boxes, target["difficult"], self.device))
        self.images += 1

    def merge_state(self, incoming_state: "AveragePrecision") -> None:  # type: ignore[override]  # its images too
        """Adds another one's images, numbered after this one's."""
        offset = self.images * rank_and_processes()[1]
        for mine, others in ((self.detected, incoming_state.detected), (self.truth, incoming_state.truth)):
            mine += [torch.cat((rows[:, :1] + offset, rows[:, 1:]), dim=1) for rows in others]
        self.images += incoming_state.images

    def reset(self) -> None:
        """Forgets all images."""
        super().reset()
        self.images = 0

    def compute(self) -> dict[str, float]:
        """{"AP", "AP50", "AP75"}; nan when there is no object to be found."""
        table = self._table()
        table = table[:, ~np.isnan(table).all(axis=0)]
        if not table.size:
            return {"AP": float("nan"), "AP50": float("nan"), "AP75": float("nan")}
        rows = {"AP50": IOU_THRESHOLDS.index(0.5), "AP75": IOU_THRESHOLDS.index(0.75)}
        return {"AP": float(table.mean()), **{name: float(table[row].mean()) for name, row in rows.items()}}

    def per_class(self) -> dict[str, float]:
        """{class: AP}; classes without an object to be found are nan."""
        return dict(zip(self.names, self._table().mean(axis=0).tolist(), strict=True))

    def _table(self) -> np.ndarray:
        """AP of each threshold and class, (10, K)."""
        if not self.truth:
            return np.full((len(IOU_THRESHOLDS), len(self.names)), np.nan)
        detected, truth = (dim_zero_cat(rows).double().cpu().numpy() for rows in (self.detected, self.truth))
        if self.inclusive_pixels:
            detected[:, 4:6] += 1
            truth[:, 4:6] += 1
        return RULES[self.rules](detected, truth, len(self.names), IOU_THRESHOLDS)

    def _image_number(self) -> int:
        """A number that no other process gives to an image."""
        rank, processes = rank_and_processes()
        return self.images * processes + rank


def _rows(image: int, labels: Tensor, boxes: Tensor, last: Tensor, device: torch.device) -> Tensor:
    """(N, 7) float64: image, label, box, last."""
    columns = (torch.full_like(labels, image)[:, None], labels[:, None], boxes.as_subclass(Tensor), last[:, None])
    return torch.cat([column.to(device, torch.float64) for column in columns], dim=1)
