"""Depth metrics of NYUv2 (docs/reference.md, section 2: models/depth/utils_depth/metrics.py:9-77)."""

import math

import torch
from torch import Tensor
from torchmetrics import Metric

from tadp_heads.depth.protocol import DepthProtocol, get_protocol

METRICS = ("d1", "d2", "d3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog")


class DepthMetrics(Metric):
    """Means over images, collected batch by batch; an image without a valid pixel is left out.

    Under torch.distributed, `compute` joins the images of all processes.
    """

    full_state_update = False
    sums: Tensor
    images: Tensor

    def __init__(self, protocol: str | DepthProtocol = "nyu-eigen"):
        super().__init__()
        self.protocol = get_protocol(protocol)
        self.add_state("sums", torch.zeros(len(METRICS), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Adds images: (B, 1, H, W), (B, H, W) or (H, W) in metres; target 0 = no value."""
        if prediction.numel() != target.numel() or prediction.shape[-2:] != target.shape[-2:]:
            raise ValueError(f"prediction {tuple(prediction.shape)} for target {tuple(target.shape)}: resize it first")
        size = tuple(target.shape[-2:])
        wanted = self.protocol.image_size
        if wanted not in (None, size):
            raise ValueError(
                f"images of {size[0]}x{size[1]}: this protocol's crop is meant for {wanted[0]}x{wanted[1]}; use 'full'"
            )
        pairs = zip(prediction.reshape(-1, *size), target.as_subclass(Tensor).reshape(-1, *size), strict=True)
        for one_prediction, one_target in pairs:
            scores = _image_metrics(one_prediction, one_target, self.protocol)
            if scores is not None:
                self.sums += scores.to(self.sums.device)
                self.images += 1

    def compute(self) -> dict[str, float]:
        """The mean of each metric over images; nan without any image."""
        return dict(zip(METRICS, (self.sums / self.images).tolist(), strict=True))


def depth_metrics(pred: Tensor, target: Tensor, protocol: str | DepthProtocol = "nyu-eigen") -> dict[str, float]:
    """Metrics of a batch (B, 1, H, W), (B, H, W) or (H, W) in metres; target 0: no value.

    {"d1", "d2", "d3": share of pixels within a factor 1.25, 1.25^2, 1.25^3; "rmse" in metres; "abs_rel", ...}, means
    over images. ValueError for other sizes than the target's or the protocol's.
    """
    metrics = DepthMetrics(protocol)
    metrics.update(pred, target)
    return metrics.compute()


def _image_metrics(pred: Tensor, target: Tensor, protocol: DepthProtocol) -> Tensor | None:
    """METRICS of one image (H, W), or None when no pixel counts."""
    rows, columns = slice(*(protocol.rows or (None,))), slice(*(protocol.columns or (None,)))
    pred, target = pred[rows, columns].double(), target[rows, columns].double()
    valid = (target > protocol.min_m) & (target < protocol.max_m)
    if not valid.any():
        return None
    # The prediction is deliberately not clamped to the evaluated range: the reference does not.
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
    return torch.stack([scores[name] for name in METRICS])
