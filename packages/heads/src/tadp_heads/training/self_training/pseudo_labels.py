"""Confident predictions as targets."""

# B images, H W their pixels, K classes, N boxes

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision import tv_tensors

from tadp_heads.data.sample import IGNORE_INDEX, DetectionTarget, Target
from tadp_heads.training.dataset import Batch
from tadp_heads.training.self_training.confidence import ClassConfidence

_SEEN_FROM = 0.5
"""Boxes count for the mean confidence from this share of the highest threshold on: the many worse ones are no finds."""


class PseudoLabels(NamedTuple):
    """What a teacher says of a batch."""

    targets: list[Target]
    """One per image that `images` lists."""
    images: list[int]
    """Places in the batch of the images that have labels."""
    kept: float
    """Share of the predictions in [0, 1] that became labels."""
    counts: Tensor
    """(K,) predictions of each class, confident or not."""


def pseudo_labels(
    task: Any, head: nn.Module, levels: Sequence[Tensor], batch: Batch, confidence: ClassConfidence
) -> PseudoLabels:
    """Of a head in eval mode on the teacher's levels of a batch, whose targets say nothing; `confidence` is updated."""
    assert batch.size is not None, "batches of images have a size"
    size, device = batch.size, levels[0].device
    blank = levels[0].new_empty(len(levels[0]), 3, *size)  # the protocol wants to know the size alone
    if task.name == "segmentation":
        found = task.predict_confident(head, lambda _: levels, blank, "whole")
        return _masks(found, [target.cpu() for target in batch.targets], confidence, device)
    return _boxes(task.predict(head, lambda _: levels, blank, "coco"), size, confidence, device)


def _masks(
    found: Sequence[Any], frames: Sequence[Tensor], confidence: ClassConfidence, device: torch.device
) -> PseudoLabels:
    """Masks (H, W) with IGNORE_INDEX where the teacher is not sure, or where a crop has no image."""
    ids, sure = torch.stack([one.ids for one in found]), torch.stack([one.confidence for one in found])
    inside = torch.stack([frame.as_subclass(Tensor) for frame in frames]) != IGNORE_INDEX
    confidence.update(ids[inside], sure[inside])
    labelled = inside & (sure >= confidence.thresholds[ids])
    masks = torch.where(labelled, ids, IGNORE_INDEX)
    kept = [index for index, mask in enumerate(labelled) if mask.any()]
    return PseudoLabels(
        targets=[tv_tensors.Mask(masks[index].to(device)) for index in kept],
        images=kept,
        kept=float(labelled.sum() / inside.sum().clamp_min(1)),
        counts=ids[inside].bincount(minlength=len(confidence.means)),
    )


def _boxes(
    found: Sequence[Any], size: tuple[int, int], confidence: ClassConfidence, device: torch.device
) -> PseudoLabels:
    """Boxes above the thresholds; an image without one has no label, as it may have objects all the same."""
    seen = [one["scores"] >= _SEEN_FROM * confidence.highest for one in found]
    labels = torch.cat([one["labels"][rows] for one, rows in zip(found, seen, strict=True)])
    confidence.update(labels, torch.cat([one["scores"][rows] for one, rows in zip(found, seen, strict=True)]))
    targets, images = [], []
    for index, one in enumerate(found):
        rows = one["scores"] >= confidence.thresholds[one["labels"]]
        if rows.any():
            boxes = tv_tensors.BoundingBoxes(one["boxes"][rows].to(device), format="XYXY", canvas_size=size)
            kept = one["labels"][rows].to(device)
            targets.append(
                DetectionTarget(boxes=boxes, labels=kept, difficult=torch.zeros_like(kept, dtype=torch.bool))
            )
            images.append(index)
    chosen = sum(len(target["labels"]) for target in targets)
    return PseudoLabels(targets, images, chosen / max(1, len(labels)), labels.bincount(minlength=len(confidence.means)))
