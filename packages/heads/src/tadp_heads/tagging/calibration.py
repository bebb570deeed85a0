"""The threshold at which named classes reach a required precision."""

from typing import NamedTuple

import torch
from torch import Tensor


class Calibration(NamedTuple):
    """A threshold, with precision and recall in [0, 1] over all (image, class) pairs of the images it was chosen on."""

    threshold: float
    """A class is named where its probability is at least this."""
    precision: float
    recall: float


def calibrate(probabilities: Tensor, present: Tensor, precision: float) -> Calibration:
    """The threshold of the highest recall at which the precision is at least `precision`, in (0, 1].

    `probabilities` (N, K) of N images that the tagger was not trained on, `present` (N, K) of 0 and 1. Raises
    ValueError with the highest precision found where no threshold reaches `precision`.
    """
    check_labels(probabilities, present)
    scores, order = probabilities.flatten().double().sort(descending=True)
    right = present.flatten()[order].double().cumsum(0)
    precisions = right / torch.arange(1, len(scores) + 1)
    last = torch.ones_like(scores, dtype=torch.bool)
    last[:-1] = scores[:-1] != scores[1:]  # pairs of one probability are named together
    enough = last & (precisions >= precision)
    if not enough.any():
        raise ValueError(
            f"a precision of {precision:g} is not reached at any threshold; the highest is "
            f"{precisions[last].max():.3f}: ask for less with presence.precision, or label more images"
        )
    place = int(enough.nonzero().max())
    return Calibration(float(scores[place]), float(precisions[place]), float(right[place] / present.sum()))


def check_labels(probabilities: Tensor, present: Tensor) -> None:
    """Raise ValueError unless both are (N, K) and a class is present."""
    if probabilities.shape != present.shape or not present.any():
        raise ValueError(
            f"probabilities {tuple(probabilities.shape)} and labels {tuple(present.shape)} with {int(present.sum())} "
            "present classes: expected one shape, and a present class"
        )
