"""The images from which a domain is learned."""

import logging
import random
from collections.abc import Sequence
from pathlib import Path

from tadp_captioning import find_images
from tadp_heads.data.registry import labelled_splits, split_name
from tadp_heads.data.split_images import domain_split, split_images

log = logging.getLogger(__name__)

_TRAIN = "train"


def domain_images(where: str, split: str = "", task: str | None = None) -> Path | list[Path]:
    """The images of a split of NAME:FOLDER ("": the one that domains are learned from), or of a user's folder."""
    split = split or domain_split(where)
    return list(split_images(where, split, task).values()) if split else Path(where)


def target_images(target: str, task: str, evaluated: str, asked: str = "") -> Path | list[Path]:
    """The images of an adaptation's target from which its domain is learned.

    None of the split `evaluated` is among them unless it is the split `asked` for. `evaluated` "": the target is
    predicted, not evaluated, and a user's folder is learned from as a whole.
    """
    split = asked or domain_split(target)
    if split and split == evaluated and not asked:
        raise ValueError(
            f"{target}: the split {split} is evaluated, so that the domain is not learned from it: name another with "
            f"--learn-split, or {split} itself"
        )
    if split or not evaluated:
        return domain_images(target, split, task)
    if _TRAIN in labelled_splits(target, task) and evaluated != _TRAIN:
        return domain_images(target, _TRAIN, task)
    known = {file.resolve() for file in split_images(target, evaluated, task).values()}
    others = [file for file in find_images(split_name(target)[1]).values() if file.resolve() not in known]
    if not others:
        raise ValueError(
            f"{target}: all of its images are in the split {evaluated}, which is evaluated: add images of the domain, "
            f"or name the split to learn from with --learn-split ({evaluated} itself, if intended)"
        )
    return others


def drawn(images: Path | Sequence[Path], count: int, seed: int) -> Path | list[Path]:
    """`count` of the images at random, 0: all of them; fewer than that are taken as they are, with a warning."""
    if not count:
        return images if isinstance(images, Path) else list(images)
    files = sorted(find_images(images).values()) if isinstance(images, Path) else sorted(images)
    if len(files) < count:
        log.warning("the domain is learned from %d images, fewer than the %d requested", len(files), count)
        return files
    return random.Random(seed).sample(files, count)
