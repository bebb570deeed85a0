"""The scale-invariant logarithmic loss (Eigen et al. 2014; docs/reference.md, section 2)."""

import torch
from torch import Tensor

VARIANCE_FOCUS = 0.5
"""How much of the squared mean error is forgiven: 0 is the plain RMS of logs, 1 ignores scale."""


def silog_loss(pred: Tensor, target: Tensor) -> Tensor:
    """sqrt(mean(d^2) - 0.5 mean(d)^2), d = log target - log pred, over all pixels of the batch with a value.

    `pred` and `target` in metres, of one shape, else a ValueError; `pred` > 0; pixels with target 0 have no value. A
    batch without any value gives 0.
    """
    if pred.shape != target.shape:
        raise ValueError(f"prediction {tuple(pred.shape)} and target {tuple(target.shape)} differ in shape")
    valid = target > 0
    if not valid.any():
        return pred.sum() * 0
    precision = torch.promote_types(pred.dtype, torch.float32)
    difference = target[valid].to(precision).log() - pred[valid].to(precision).log()
    variance = difference.square().mean() - VARIANCE_FOCUS * difference.mean().square()
    # The square root has no finite slope at 0: at a perfect fit the gradient is 0 instead of nan.
    return variance.clamp_min(torch.finfo(precision).tiny).sqrt()
