"""Objects of one image pasted into another that has none of their class."""

# H W image pixels

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.sample import Sample, SampleDataset

_LARGEST = 0.4
"""Of the image's sides: what is pasted is scaled down to it."""
_LEAST_PIXELS = 0.01
"""Of the image: smaller objects are not pasted."""
_FREE = 0.02
"""Share of a pasted object that may lie on another."""


class Pasted(NamedTuple):
    """An image without and with an object of a class that it lacked."""

    name: str
    names: list[str]
    """Classes of the prompt: those of the base image and `name`."""
    before: Sample
    after: Sample
    mask: Tensor
    """(H, W) bool: where it was pasted."""
    others: Tensor
    """(H, W) bool: the base image's objects."""


def pastes(dataset: SampleDataset, seed: int) -> Iterator[Pasted]:
    """For each image a donor with a class that it lacks, where there is one and a free place for it."""
    present = present_classes(dataset)
    names = object_names(dataset.prompt_names)
    generator = torch.Generator().manual_seed(seed)
    for image_id in dataset.ids:
        donors = [(i, n) for i in dataset.ids for n in sorted(present[i] - present[image_id])]
        if not donors or not present[image_id]:
            continue
        donor, name = donors[int(torch.randint(len(donors), (), generator=generator))]
        pasted = _paste(dataset, dataset.read(image_id), dataset.read(donor), name)
        if pasted is not None:
            image, mask, others = pasted
            before = dataset.read(image_id)
            words = [n for n in names if n in present[image_id] or n == name]
            yield Pasted(name, words, before, before._replace(image=image), mask, others)


def _paste(dataset: SampleDataset, base: Sample, donor: Sample, name: str) -> tuple[Tensor, Tensor, Tensor] | None:
    """Image with the donor's object, its mask, the base's objects; None without a free place or a large enough one."""
    cut = _cut(donor, dataset.prompt_names.index(name), base.image.shape[-2:])
    if cut is None:
        return None
    pixels, shape = cut
    target = base.target.as_subclass(Tensor)
    others = torch.stack([target == dataset.prompt_names.index(n) for n in object_names(dataset.prompt_names)]).any(0)
    # How much of the object would lie on others, at every place at once.
    covered = F.conv2d(others[None, None].float(), shape[None, None].float())[0, 0] / shape.sum()
    place = int(covered.argmin())
    if covered.flatten()[place] > _FREE:
        return None
    top, left = divmod(place, covered.shape[1])
    height, width = shape.shape
    mask = torch.zeros_like(others)
    mask[top : top + height, left : left + width] = shape
    image = base.image.as_subclass(Tensor).clone()
    image[:, mask] = pixels[:, shape]
    return image, mask, others


def _cut(donor: Sample, label: int, size: Sequence[int]) -> tuple[Tensor, Tensor] | None:
    """The pixels (3, h, w) and the shape (h, w) of a class, scaled down to a part of `size`."""
    mask = donor.target.as_subclass(Tensor) == label
    if mask.float().mean() < _LEAST_PIXELS:
        return None
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    box = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
    pixels, shape = donor.image.as_subclass(Tensor)[:, *box], mask[box]
    scale = min(1.0, *(_LARGEST * side / own for side, own in zip(size, shape.shape, strict=True)))
    if scale == 1.0:
        return pixels, shape
    small = [max(1, round(scale * side)) for side in shape.shape]
    pixels = F.interpolate(pixels[None].float(), size=small, mode="bilinear", antialias=True)[0].round().to(torch.uint8)
    shape = F.interpolate(shape[None, None].float(), size=small, mode="nearest")[0, 0].bool()
    return (pixels, shape) if shape.any() else None
