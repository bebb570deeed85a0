"""How unsure a segmentation model is of each pixel, which images to label for it, and how well it knows its errors."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

# P prompts, K classes, H W image pixels, N images, C channels of a feature.

Item = TypeVar("Item", bound=Hashable)


def entropy(probabilities: Tensor) -> Tensor:
    """(..., K, H, W) -> (..., H, W): the entropy of each pixel in nats."""
    return -(probabilities * probabilities.clamp(min=1e-12).log()).sum(-3)


def disagreement(probabilities: Tensor) -> Tensor:
    """(P, K, H, W) under P prompts -> (H, W): mutual information of class and prompt in nats, 0 where they agree.

    The entropy of the mean prediction less the mean of the entropies (BALD, Houlsby et al. 2011, over prompts).
    """
    return (entropy(probabilities.mean(0)) - entropy(probabilities).mean(0)).clamp(min=0)


def diverse(
    features: Mapping[Item, Tensor], candidates: Sequence[Item], there: Sequence[Item], count: int
) -> list[Item]:
    """`count` of the candidates: the first, then each time the one farthest from all chosen and from those `there`
    (k-center greedy, Sener and Savarese 2018); features (C,) are compared by their directions."""
    if not candidates:
        return []
    vectors = normalize(torch.stack([features[one] for one in candidates]), dim=1)  # (N, C)
    distances = torch.full((len(candidates),), float("inf"))
    if there:
        kept = normalize(torch.stack([features[one] for one in there]), dim=1)
        distances = torch.cdist(vectors, kept).amin(1)
    chosen: list[int] = []
    while len(chosen) < min(count, len(candidates)):
        following = 0 if not chosen and not there else int(distances.argmax())
        chosen.append(following)
        distances = torch.minimum(distances, torch.cdist(vectors, vectors[following][None])[:, 0])
        distances[chosen] = -1
    return [candidates[index] for index in chosen]


def error_auroc(uncertainty: Tensor, wrong: Tensor) -> float:
    """Area under the ROC curve in [0, 1] of finding the pixels that are `wrong` by their uncertainty; 0.5 is chance.

    Both (N,), floats and bool; equal uncertainties count half (Mann and Whitney's statistic). NaN where no pixel, or
    every one, is wrong.
    """
    positives = int(wrong.sum())
    negatives = len(wrong) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = uncertainty.double().unique(return_inverse=True, return_counts=True)
    ranks = counts.cumsum(0) - (counts - 1) / 2  # mean rank, from 1, of each value
    total = ranks.double()[inverse][wrong].sum()
    return float((total - positives * (positives + 1) / 2) / (positives * negatives))
