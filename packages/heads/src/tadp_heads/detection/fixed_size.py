"""Faster R-CNN's prediction in tensors whose sizes do not depend on what is found, as torch.export and ONNX need it.

torchvision's own drops boxes image by image. Here a dropped box stays, with the score -1, and a fixed number of the
best ones is passed on. The detections are torchvision's up to rounding, as long as at most `MOST_CANDIDATES` pairs of
region and class of an image reach the score threshold.
"""

# B images, K classes, P boxes per image, A anchors per cell, h w cells of a level

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import clip_boxes_to_image, nms, roi_align

from tadp_heads.detection.detections import Detections
from tadp_heads.detection.head import FasterRCNNHead
from tadp_heads.detection.output import DetectionOutput

MOST_CANDIDATES = 4096
"""Pairs of region and class per image among which overlaps are removed: the surest ones."""
_SMALLEST_REGION, _SMALLEST_BOX = 1e-3, 1e-2
"""Pixels; torchvision drops smaller ones (rpn.py, roi_heads.py)."""
_DROPPED = -1.0
"""Below every score, which are probabilities."""


def detect(head: FasterRCNNHead, features: Sequence[Tensor], image_size: tuple[int, int]) -> DetectionOutput:
    """Features of padded images, finest first, and the images' (H, W) before -> their detections."""
    with torch.autocast(features[0].device.type, enabled=False):  # as in the head's own forward
        maps = list(head.fpn({str(i): feature.float() for i, feature in enumerate(features)}).values())
        regions, sure = _regions(head, maps, image_size)
        return _detections(head, _classified(head, maps, regions), regions, sure, image_size)


def padded_detections(found: Sequence[Detections]) -> DetectionOutput:
    """One Detections per image -> tensors, as long as the longest of them."""
    most = max(len(detections["scores"]) for detections in found)

    def stacked(rows: list[Tensor], value: float) -> Tensor:
        missing = [(0, 0) * (row.ndim - 1) + (0, most - len(row)) for row in rows]
        return torch.stack([F.pad(row, size, value=value) for row, size in zip(rows, missing, strict=True)])

    return DetectionOutput(
        boxes=stacked([detections["boxes"] for detections in found], 0),
        scores=stacked([detections["scores"] for detections in found], 0),
        labels=stacked([detections["labels"] for detections in found], -1),
    )


def _regions(head: FasterRCNNHead, maps: list[Tensor], image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Proposals (B, P, 4) and their objectness (B, P), `_DROPPED` where there are fewer than P."""
    rpn, boxes, scores, levels = head.rpn, [], [], []
    cells = rpn.anchor_generator.cell_anchors
    for index, (objectness, deltas) in enumerate(zip(*rpn.head(maps), strict=True)):
        objectness = rearrange(objectness, "b a h w -> b (h w a)")
        deltas = rearrange(deltas, "b (a four) h w -> b (h w a) four", four=4)
        anchors = _anchors(cells[index].to(deltas), maps[index], head.config.levels[index].stride)
        best = _best(objectness, rpn.pre_nms_top_n())
        anchors = repeat(anchors, "p four -> b p four", b=objectness.shape[0])
        boxes.append(_decoded(rpn.box_coder, _taken(deltas, best), _taken(anchors, best)))
        scores.append(objectness.gather(1, best).sigmoid())
        levels.append(torch.full_like(best, index))
    box, score = clip_boxes_to_image(torch.cat(boxes, 1), image_size), torch.cat(scores, 1)
    score = torch.where(_is_large(box, _SMALLEST_REGION), score, _DROPPED)
    kept = _without_overlaps(box, score, torch.cat(levels, 1), len(maps), rpn.nms_thresh, image_size)
    best = _best(kept, rpn.post_nms_top_n())
    return _taken(box, best), kept.gather(1, best)


def _anchors(cells: Tensor, level: Tensor, stride: int) -> Tensor:
    """(h w A, 4) XYXY in pixels: the level's anchors (A, 4) about 0, moved to each of its cells."""
    rows, columns = (torch.arange(side, device=cells.device, dtype=cells.dtype) * stride for side in level.shape[-2:])
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    moves = torch.stack((x, y, x, y), -1)
    return rearrange(moves[:, :, None] + cells, "h w a four -> (h w a) four")


def _classified(head: FasterRCNNHead, maps: list[Tensor], regions: Tensor) -> tuple[Tensor, Tensor]:
    """Regions (B, P, 4) -> logits (B, P, 1 + K) and box changes (B, P, 4 (1 + K)), the background first."""
    roi, (batch, count) = head.roi_heads, regions.shape[:2]
    pool, flat = roi.box_roi_pool, regions.flatten(0, 1)
    image = repeat(torch.arange(batch, device=flat.device, dtype=flat.dtype), "b -> (b p) 1", p=count)
    rois, levels = torch.cat((image, flat), 1), pool.map_levels([flat])
    pooled = torch.zeros((), device=flat.device)
    for index, (level, scale) in enumerate(zip(maps, pool.scales, strict=True)):
        here = roi_align(level, rois, pool.output_size, scale, pool.sampling_ratio)
        pooled = torch.where((levels == index)[:, None, None, None], here, pooled)
    logits, deltas = roi.box_predictor(roi.box_head(pooled))
    return logits.unflatten(0, (batch, count)), deltas.unflatten(0, (batch, count))


def _detections(
    head: FasterRCNNHead, classified: tuple[Tensor, Tensor], regions: Tensor, sure: Tensor, image_size: tuple[int, int]
) -> DetectionOutput:
    logits, deltas = classified
    config, classes = head.config, logits.shape[-1] - 1
    # (B, P, 1 + K, 4): each class has a box of its own
    anchors = repeat(regions, "b p four -> b p k four", k=1 + classes)
    boxes = _decoded(head.roi_heads.box_coder, rearrange(deltas, "b p (k four) -> b p k four", four=4), anchors)
    boxes = rearrange(clip_boxes_to_image(boxes, image_size)[:, :, 1:], "b p k four -> b (p k) four")
    scores = rearrange(logits.softmax(-1)[:, :, 1:], "b p k -> b (p k)")
    there = repeat(sure != _DROPPED, "b p -> b (p k)", k=classes)
    scores = torch.where(there & (scores > config.score_threshold), scores, _DROPPED)
    scores = torch.where(_is_large(boxes, _SMALLEST_BOX), scores, _DROPPED)
    best = _best(scores, MOST_CANDIDATES)
    boxes, scores, labels = _taken(boxes, best), scores.gather(1, best), best % classes
    kept = _without_overlaps(boxes, scores, labels, classes, config.nms_iou, image_size)
    best = _best(kept, config.max_detections)
    boxes, scores, labels = _taken(boxes, best), kept.gather(1, best), labels.gather(1, best)
    there = scores != _DROPPED
    return DetectionOutput(
        torch.where(there[..., None], boxes, 0.0), torch.where(there, scores, 0.0), torch.where(there, labels, -1)
    )


def _without_overlaps(
    boxes: Tensor, scores: Tensor, groups: Tensor, count: int, iou: float, image_size: tuple[int, int]
) -> Tensor:
    """The scores (B, P), `_DROPPED` where a surer box of the same image and group of `groups` (`count` of them)
    overlaps by more than `iou`."""
    batch = scores.shape[0]
    # One pass for all: boxes of another image or group are moved beyond reach, dropped ones onto one place.
    place = torch.arange(batch, device=groups.device)[:, None] * count + groups
    moved = boxes + (place * (max(image_size) + 1))[..., None].to(boxes)
    nowhere = torch.tensor((-2.0, -2.0, -1.0, -1.0), device=boxes.device)
    moved = torch.where((scores == _DROPPED)[..., None], nowhere, moved)
    kept = nms(moved.flatten(0, 1), scores.flatten(), iou)
    is_kept = torch.zeros_like(scores.flatten()).scatter(0, kept, 1.0).view_as(scores)
    return torch.where(is_kept > 0, scores, _DROPPED)


def _best(scores: Tensor, most: int) -> Tensor:
    """Indices (B, P) of the `most` best of (B, N), or of all; best first."""
    return scores.topk(min(most, scores.shape[1]), dim=1).indices


def _taken(boxes: Tensor, indices: Tensor) -> Tensor:
    """(B, N, 4), (B, P) -> (B, P, 4)."""
    return boxes.gather(1, repeat(indices, "b p -> b p four", four=4))


def _decoded(coder: Any, deltas: Tensor, anchors: Tensor) -> Tensor:
    """Box changes and anchors (..., 4) -> boxes (..., 4)."""
    return coder.decode_single(deltas.reshape(-1, 4), anchors.reshape(-1, 4)).view_as(anchors)


def _is_large(boxes: Tensor, side: float) -> Tensor:
    """Of boxes (..., 4), whether both sides have at least this many pixels."""
    return ((boxes[..., 2:] - boxes[..., :2]) >= side).all(-1)
