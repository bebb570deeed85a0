"""Losses over logits (B, K, h, w) and class ids (B, H, W); logits of another size are resized to the label's first."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tadp_heads.data.sample import IGNORE_INDEX
from tadp_heads.preprocessing import resize_maps as resize_logits
from tadp_heads.preprocessing import size_of

MOST_GAMMA = 100
"""Of the focal loss: with more of it no pixel has a gradient."""


def cross_entropy(
    logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX, average: str = "valid"
) -> Tensor:
    """Cross-entropy in nats; 0 with a zero gradient where every pixel is ignored.

    average "valid": the mean over the pixels that are not ignored. "all": their sum divided by the number of all
    pixels, as mmsegmentation's CrossEntropyLoss(avg_non_ignore=False) does (docs/reference.md, section 1). ValueError
    for another average.
    """
    if average not in ("valid", "all"):
        raise ValueError(f"unknown average {average!r}; choose from valid, all")
    logits = resize_logits(logits, size_of(target))
    total = F.cross_entropy(_precise(logits), target.long(), ignore_index=ignore_index, reduction="sum")
    pixels = target.numel() if average == "all" else (target != ignore_index).sum().clamp(min=1)
    return total / pixels


def focal_loss(logits: Tensor, target: Tensor, *, ignore_index: int = IGNORE_INDEX, gamma: float = 2.0) -> Tensor:
    """Sum over the K classes of the mean binary focal loss over the valid pixels; 0 where every pixel is ignored.

    The Pascal code's loss: FocalLoss("multiclass", ignore_index=255) of segmentation-models-pytorch 0.3.3, whose later
    versions divide by K (docs/reference.md, section 1). ValueError for a `gamma` beyond [0, MOST_GAMMA].
    """
    if not 0 <= gamma <= MOST_GAMMA:
        raise ValueError(f"gamma is {gamma}, expected 0 to {MOST_GAMMA}")
    logits = _precise(resize_logits(logits, size_of(target)))
    valid = target != ignore_index  # (B, H, W)
    one_hot = F.one_hot(torch.where(valid, target, 0).long(), logits.shape[1]).movedim(-1, 1).to(logits)  # (B, K, H, W)
    entropy = F.binary_cross_entropy_with_logits(logits, one_hot, reduction="none")
    focal = (1 - torch.exp(-entropy)) ** gamma * entropy
    return (focal * valid[:, None]).sum() / valid.sum().clamp(min=1)


def _precise(logits: Tensor) -> Tensor:
    """At least float32: the sums over pixels are too long for half precision."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


LOSSES: dict[str, Callable[..., Tensor]] = {"cross-entropy": cross_entropy, "focal": focal_loss}


def check_loss(kind: str = "cross-entropy", **options: Any) -> None:
    """Raise ValueError for arguments of `SegmentationTask.loss` that are refused there, without features."""
    if kind not in LOSSES:
        raise ValueError(f"unknown segmentation loss {kind!r}; choose from {', '.join(LOSSES)}")
    LOSSES[kind](torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1), **options)
