"""Predictions of a model image by image, with the annotation."""

# B images, T tokens, D width of the context, H W image pixels

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tadp_heads.data import Sample, SampleDataset
from tadp_heads.data.sample import IGNORE_INDEX
from tadp_heads.model import PerceptionModel
from tadp_heads.segmentation.metrics import MeanIoU

_BATCH = 16
"""Images read at a time."""


class ScoredImage(NamedTuple):
    """One image of a segmentation data set."""

    sample: Sample
    prediction: Tensor
    """(H, W) int64 class ids."""
    iou: dict[str, float]
    """{class: IoU} of the classes that are in the truth or predicted."""
    areas: dict[str, float]
    """{class: share of the annotated pixels} of the classes in the truth."""

    @property
    def miou(self) -> float:
        return sum(self.iou.values()) / len(self.iou)


def per_image_metrics(
    model: PerceptionModel,
    dataset: SampleDataset,
    context: Callable[[Sequence[str]], Tensor | None],
) -> Iterator[ScoredImage]:
    """Every image of the data set, in its own frame; images with no annotated pixel are left out.

    `context`: image ids -> (B, T, D).
    """
    for start in range(0, len(dataset), _BATCH):
        ids = dataset.ids[start : start + _BATCH]
        samples = [dataset.read(image_id) for image_id in ids]
        found = model.predict_tensors([s.image for s in samples], context(ids))
        for sample, raw in zip(samples, found, strict=True):
            truth = sample.target.as_subclass(Tensor)
            frame = torch.nn.functional.interpolate(raw[None, None].double(), size=tuple(truth.shape))[0, 0].long()
            prediction = frame if raw.shape != truth.shape else raw
            metric = MeanIoU(dataset.classes)
            metric.update(prediction, truth)
            iou = {name: value for name, value in metric.per_class().items() if value == value}  # nan: absent
            annotated = truth[truth != IGNORE_INDEX]
            shares = annotated.bincount(minlength=len(dataset.classes)).double() / max(1, annotated.numel())
            areas = {name: float(s) for name, s in zip(dataset.classes, shares, strict=True) if s > 0}
            if areas:
                yield ScoredImage(sample, prediction, iou, areas)
