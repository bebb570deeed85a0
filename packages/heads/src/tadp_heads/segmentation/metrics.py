"""Mean intersection over union over a whole data set."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from tadp_heads.data.sample import IGNORE_INDEX


class MeanIoU(Metric):
    """Accumulates a confusion matrix; values in [0, 1], pixels equal to `ignore_index` in the target count nowhere.

    A class is absent when neither target nor prediction has it. absent="skip" leaves it out of the mean; absent="one"
    counts it as 1.0, as the public code's Pascal evaluation does (docs/reference.md, section 5).
    Under torch.distributed, `compute` adds up the matrices of all processes.
    """

    full_state_update = False
    confusion: Tensor

    def __init__(self, classes: int | Sequence[str], *, ignore_index: int = IGNORE_INDEX, absent: str = "skip"):
        super().__init__()
        if absent not in ("skip", "one"):
            raise ValueError(f"unknown rule for absent classes {absent!r}; choose from skip, one")
        self.names = tuple(str(i) for i in range(classes)) if isinstance(classes, int) else tuple(classes)
        self.ignore_index = ignore_index
        self.absent = absent
        count = len(self.names)
        self.add_state("confusion", torch.zeros(count, count, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Class ids (..., H, W), or logits (..., K, H, W) where the target is (..., H, W).

        ValueError for other sizes, and for target ids out of range.
        """
        if prediction.ndim == target.ndim + 1:
            prediction = prediction.argmax(-3)
        if prediction.shape != target.shape:
            raise ValueError(f"prediction {tuple(prediction.shape)} for target {tuple(target.shape)}: resize it first")
        valid = target != self.ignore_index
        truth, guess = target[valid].long(), prediction[valid].long()
        count = len(self.names)
        low, high = (int(bound) for bound in truth.aminmax()) if truth.numel() else (0, 0)
        if low < 0 or high >= count:
            raise ValueError(f"target ids {low}..{high}: expected 0..{count - 1} or {self.ignore_index} (ignored)")
        # rows: truth, columns: prediction
        self.confusion += torch.bincount(truth * count + guess, minlength=count * count).view(count, count)

    def per_class(self) -> dict[str, float]:
        """{class: IoU in [0, 1]}; absent classes are nan."""
        with self.sync_context():
            return dict(zip(self.names, self._iou().tolist(), strict=True))

    def compute(self) -> dict[str, float]:
        """mIoU, mean accuracy over the classes that occur in the target (mAcc) and pixel accuracy (aAcc)."""
        iou = self._iou()
        if self.absent == "one":
            iou = iou.nan_to_num(1.0)
        hits, truth = self.confusion.diag().double(), self.confusion.sum(1).double()
        return {
            "mIoU": iou.nanmean().item(),
            "mAcc": (hits / truth).nanmean().item(),
            "aAcc": (hits.sum() / truth.sum()).item(),
        }

    def _iou(self) -> Tensor:
        hits = self.confusion.diag().double()
        return hits / (self.confusion.sum(0) + self.confusion.sum(1) - self.confusion.diag())  # 0 / 0 = nan: absent
