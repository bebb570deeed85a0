"""How unsure predictions are, and images that differ from one another."""

# P prompts, K classes, H W image pixels, N images, C channels of the coarsest level

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor


def disagreement(probabilities: Tensor) -> float:
    """(P, K, H, W) under P prompts -> mean over pixels of their mutual information in nats, 0 where they agree: the
    entropy of the mean prediction less the mean of the entropies (BALD, Houlsby et al. 2011, over prompts)."""
    return float((_entropy(probabilities.mean(0)) - _entropy(probabilities).mean(0)).mean().clamp(min=0))


def entropy(probabilities: Tensor) -> float:
    """(1, K, H, W) -> mean entropy of the pixels in nats."""
    return float(_entropy(probabilities).mean())


def _entropy(probabilities: Tensor) -> Tensor:
    """(..., K, H, W) -> (..., H, W) in nats."""
    return -(probabilities * probabilities.clamp(min=1e-12).log()).sum(-3)


def diverse(
    features: Mapping[Path, Tensor], candidates: Sequence[Path], there: Sequence[Path], count: int
) -> list[Path]:
    """`count` of the candidates: the first, then each time the one farthest from all chosen and from those `there`
    (k-center greedy, Sener and Savarese 2018)."""
    if not candidates:
        return []
    vectors = torch.nn.functional.normalize(torch.stack([features[file] for file in candidates]), dim=1)  # (N, C)
    distances = torch.full((len(candidates),), float("inf"))
    if there:
        kept = torch.nn.functional.normalize(torch.stack([features[file] for file in there]), dim=1)
        distances = torch.cdist(vectors, kept).amin(1)
    chosen: list[int] = []
    while len(chosen) < min(count, len(candidates)):
        following = 0 if not chosen and not there else int(distances.argmax())
        chosen.append(following)
        distances = torch.minimum(distances, torch.cdist(vectors, vectors[following][None])[:, 0])
        distances[chosen] = -1
    return [candidates[index] for index in chosen]
