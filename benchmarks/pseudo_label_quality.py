"""How good the labels are that a model would give unlabelled images in self-training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import box_iou

from tadp_cli.pipelines.evaluate import open_run
from tadp_cli.prompts.builder import PromptContexts
from tadp_heads.data.class_names import is_background
from tadp_heads.data.sample import IGNORE_INDEX
from tadp_heads.preprocessing import RANGES
from tadp_heads.training.dataset import Batch
from tadp_heads.training.self_training.confidence import ClassConfidence
from tadp_heads.training.self_training.config import SelfTrainingConfig
from tadp_heads.training.self_training.pseudo_labels import pseudo_labels

# B images, C channels, H W pixels, N boxes

_BATCH = 8


@torch.no_grad()
def pseudo_label_quality(run: Path, folder: Path, split: str, captions: Path) -> dict[str, float]:
    """Shares in [0, 1] over all images of the split, whose labels are read.

    "right": of the labels of an object class, pixels or boxes. "found", "hidden": of the pixels or boxes of objects,
    those with the right label, and those that the labels call background.
    """
    _, model, dataset, prompts, _ = open_run(run, folder=str(folder), split=split, captions=captions)
    contexts, classes = PromptContexts(prompts, model.backbone), model.config.classes
    background = next((index for index, name in enumerate(classes) if is_background(name)), -1)
    confidence, counts = ClassConfidence(len(classes), SelfTrainingConfig().confidence), torch.zeros(5)
    model.eval()
    for start in range(0, len(dataset), _BATCH):
        samples = [dataset[index] for index in range(start, min(start + _BATCH, len(dataset)))]
        pixels = torch.stack([sample.image.as_subclass(Tensor) for sample in samples])
        context = contexts.context([sample.id for sample in samples])
        levels = model.extractor(pixels, context)(RANGES[model.config.image_range](pixels))
        batch = Batch([sample.target for sample in samples], size=tuple(pixels.shape[-2:]))
        found = pseudo_labels(model.task, model.head, levels, batch, confidence)
        truths = [batch.targets[index] for index in found.images]
        if model.task.name == "segmentation":
            counts += _of_masks(found.targets, truths, background)
            objects = sum(int((sample.target.as_subclass(Tensor) != background).sum()) for sample in samples)
        else:
            counts += _of_boxes(found.targets, truths)
            objects = sum(len(sample.target["labels"]) for sample in samples)
        counts[4] += objects
    labels, right, matched, hidden, objects = counts.tolist()
    return {"right": right / max(1, labels), "found": matched / objects, "hidden": hidden / objects}


def _of_masks(found: Sequence[Tensor], truths: Sequence[Tensor], background: int) -> Tensor:
    """(5,): pixels labelled as objects, right ones among them, objects' right pixels, hidden ones; 0."""
    counts = torch.zeros(5)
    for mask, truth in zip(found, truths, strict=True):
        mask, truth = mask.as_subclass(Tensor), truth.as_subclass(Tensor)
        named = (mask != IGNORE_INDEX) & (mask != background)
        right = (named & (mask == truth)).sum()
        hidden = ((mask == background) & (truth != background) & (truth != IGNORE_INDEX)).sum()
        counts += torch.stack([named.sum(), right, right, hidden, torch.tensor(0)])
    return counts


def _of_boxes(found: Sequence[Any], truths: Sequence[Any]) -> Tensor:
    """(5,): boxes, those with an IoU of 0.5 with an object of their class, objects with one, objects without; 0."""
    counts = torch.zeros(5)
    for one, truth in zip(found, truths, strict=True):
        boxes = [target["boxes"].as_subclass(Tensor).float() for target in (one, truth)]
        match = (box_iou(*boxes) >= 0.5) & (one["labels"][:, None] == truth["labels"])
        right, matched = match.any(1).sum(), match.any(0).sum()
        counts += torch.tensor([len(match), right, matched, match.shape[1] - matched, 0])
    return counts
