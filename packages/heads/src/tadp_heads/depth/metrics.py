"""Depth scores as NYUv2 is scored (REFERENCE: models/depth/utils_depth/metrics.py:9-77)."""

import math
from typing import Self

import torch
from torch import Tensor

from tadp_heads.depth.protocol import DepthProtocol, get_protocol

METRICS = ("d1", "d2", "d3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog")


class DepthMetrics:
    """Means over images, collected batch by batch; an image without a single scored pixel is left out."""

    def __init__(self, protocol: str = "nyu-eigen"):
        self.protocol = get_protocol(protocol)
        self.per_image: list[dict[str, float]] = []

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Adds images: (B, 1, H, W), (B, H, W) or (H, W) in metres; target 0 = no value."""
        if pred.numel() != target.numel() or pred.shape[-2:] != target.shape[-2:]:
            raise ValueError(f"prediction {tuple(pred.shape)} and target {tuple(target.shape)} differ in shape")
        size = tuple(target.shape[-2:])
        if self.protocol.image_size not in (None, size):
            raise ValueError(
                f"images of {size[0]}x{size[1]}: this protocol's crop is meant for "
                f"{self.protocol.image_size[0]}x{self.protocol.image_size[1]}; use the protocol 'full'"
            )
        for one_pred, one_target in zip(pred.reshape(-1, *size), target.reshape(-1, *size), strict=True):
            scores = _image_scores(one_pred, one_target, self.protocol)
            if scores is not None:
                self.per_image.append(scores)

    def merge(self, other: Self) -> None:
        """Adds the images of another collection, e.g. of another process."""
        self.per_image.extend(other.per_image)

    def compute(self) -> dict[str, float]:
        """The mean of each metric over images; nan without any image."""
        count = len(self.per_image)
        return {name: math.fsum(s[name] for s in self.per_image) / count if count else math.nan for name in METRICS}


def depth_metrics(pred: Tensor, target: Tensor, protocol: str = "nyu-eigen") -> dict[str, float]:
    """Scores of a batch, metres in: {"d1": share within a factor 1.25, ..., "rmse": metres, "silog": ...}."""
    metrics = DepthMetrics(protocol)
    metrics.update(pred, target)
    return metrics.compute()


def _image_scores(pred: Tensor, target: Tensor, protocol: DepthProtocol) -> dict[str, float] | None:
    """Scores of one image (H, W), or None when no pixel counts."""
    rows, columns = slice(*(protocol.rows or (None,))), slice(*(protocol.columns or (None,)))
    pred, target = pred[rows, columns].double(), target[rows, columns].double()
    valid = (target > protocol.min_m) & (target < protocol.max_m)
    if not valid.any():
        return None
    # The prediction is deliberately not clamped to the scored range: the reference does not.
    pred = pred.nan_to_num(nan=protocol.min_m, posinf=protocol.max_m, neginf=protocol.max_m)[valid]
    target = target[valid]
    ratio = torch.maximum(pred / target, target / pred)
    error, log_error = pred - target, pred.log() - target.log()
    scores = {f"d{k}": (ratio < 1.25**k).double().mean() for k in (1, 2, 3)}
    scores |= {
        "abs_rel": (error.abs() / target).mean(),
        "sq_rel": (error.square() / target).mean(),
        "rmse": error.square().mean().sqrt(),
        "rmse_log": log_error.square().mean().sqrt(),
        "log10": log_error.abs().mean() / math.log(10),
        "silog": (log_error.square().mean() - 0.5 * log_error.mean().square()).sqrt(),
    }
    return {name: float(value) for name, value in scores.items()}
