"""Oracle prompts of a chosen class precision and recall: how good would captions have to be? (paper 5, ADE20K)"""

import random
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

Presence = Mapping[str, Collection[str]]
"""Image id -> names of the classes in it."""


class PrecisionRecall(NamedTuple):
    """Over all class mentions of a data set, each in [0, 1]."""

    precision: float | None
    """Share of the named classes that are present; None where nothing is named: then it is undefined."""
    recall: float | None
    """Share of the present classes that are named; None where nothing is present."""


def precision_recall(named: Presence, present: Presence) -> PrecisionRecall:
    """What was named against what is there, summed over the images of `present` before dividing."""
    right = sum(len(set(named[i]) & set(present[i])) for i in present)
    n_named = sum(len(set(named[i])) for i in present)
    n_present = sum(len(set(present[i])) for i in present)
    return PrecisionRecall(right / n_named if n_named else None, right / n_present if n_present else None)


def sample_oracle(
    present: Presence,
    classes: Sequence[str],
    *,
    precision: float = 1.0,
    recall: float = 1.0,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Class names per image, with the given precision and recall over the data set; in label order.

    Of all (image, present class) pairs a share `recall` is drawn, and as many pairs with absent classes are added as
    the precision asks for, both uniformly: over the whole data set the values are hit to one pair. Measure what
    came out with `precision_recall`.
    """
    if not 0 < precision <= 1 or not 0 <= recall <= 1:
        raise ValueError(f"precision={precision}, recall={recall}: expected precision in (0, 1] and recall in [0, 1]")
    _check_known(present, classes)
    there = [(image, name) for image in present for name in classes if name in set(present[image])]
    absent = [(image, name) for image in present for name in classes if name not in set(present[image])]
    n_right = round(recall * len(there))
    n_wrong = round(n_right * (1 - precision) / precision)
    if n_wrong > len(absent):
        raise ValueError(
            f"precision={precision} needs {n_wrong} absent classes but the data set has {len(absent)}; "
            "ask for a higher precision or a lower recall"
        )
    generator = random.Random(seed)
    chosen = set(generator.sample(there, n_right)) | set(generator.sample(absent, n_wrong))
    return {image: [name for name in classes if (image, name) in chosen] for image in present}


def _check_known(present: Presence, classes: Sequence[str]) -> None:
    known = set(classes)
    for image, names in present.items():
        unknown = sorted(set(names) - known)
        if unknown:
            raise ValueError(
                f"image {image!r}: unknown class {unknown[0]!r}; expected names among: {', '.join(classes)}"
            )
