"""Conformal thresholds: a required recall, with a required confidence.

Conformal risk control by an upper confidence bound (Bates et al., Distribution-Free, Risk-Controlling Prediction Sets,
2021), with the bound of Hoeffding and Bentkus (Angelopoulos et al., Learn then Test, 2021). The guarantee holds
for images of the calibration images' distribution, not for another domain.
"""

# N images, K classes

import math

import torch
from torch import Tensor

from tadp_heads.tagging.calibration import Calibration, check_labels


def conformal_threshold(
    probabilities: Tensor, present: Tensor, *, recall: float, confidence: float = 0.9
) -> Calibration:
    """The highest threshold at which, with this confidence, at least `recall` of an image's classes are named.

    The share is the mean over images with classes. `probabilities` (N, K) by a tagger that was not trained on the
    images, `present` (N, K) of 0 and 1; `recall` and `confidence` in (0, 1). Raise ValueError where the images are too
    few for any threshold.
    """
    check_labels(probabilities, present)
    rows = present.any(1)
    own, there = probabilities[rows].double(), present[rows].double()
    for threshold in own.unique().flip(0).tolist():  # risk falls with the threshold: the first that is safe
        missed = 1 - ((own >= threshold) * there).sum(1) / there.sum(1)
        if _p_value(float(missed.mean()), len(own), 1 - recall) <= 1 - confidence:
            named = probabilities >= threshold
            right = float((named * present).sum())
            return Calibration(threshold, right / max(1, int(named.sum())), right / float(present.sum()))
    raise ValueError(
        f"{len(own)} images with classes cannot show with a confidence of {confidence:g} that a share of {recall:g} is "
        "named: label more, or ask for less with presence.recall or presence.confidence"
    )


def _p_value(risk: float, count: int, most: float) -> float:
    """P-value of the hypothesis that the true mean risk exceeds `most`, given the mean `risk` over `count` images."""
    below = min(risk, most)
    hoeffding = math.exp(-count * _kl(below, most))
    bentkus = math.e * _binomial_cdf(math.ceil(count * risk - 1e-9), count, most)
    return min(1.0, hoeffding, bentkus)


def _kl(p: float, q: float) -> float:
    """Kullback-Leibler divergence of two Bernoulli distributions, in nats."""
    return sum(a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)) if a > 0)


def _binomial_cdf(most: int, count: int, p: float) -> float:
    """Probability of at most `most` successes in `count` trials of probability `p`."""
    k = torch.arange(min(most, count) + 1, dtype=torch.float64)
    n = torch.tensor(float(count), dtype=torch.float64)
    ways = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    return float((ways + k * math.log(p) + (n - k) * math.log1p(-p)).exp().sum())
