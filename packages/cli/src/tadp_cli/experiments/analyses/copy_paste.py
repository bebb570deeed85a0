"""Figure S2: a word attends to the nearest match in an image; does it move to its own object once that is pasted in?"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tadp_cli.experiments.analyses.localisation import Localised, localise, maps_of, words_in
from tadp_cli.experiments.analyses.setting import Findings, Setting
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.report.heat_map_sheets import Panel, heat_panel, sheet_figure
from tadp_heads.data import Sample, SampleDataset
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes

# H W image pixels
_LARGEST = 0.4
"""Of the image's sides: what is pasted is scaled down to it."""
_LEAST_PIXELS = 0.01
"""Of the image: smaller objects are not pasted."""
_FREE = 0.02
"""Share of a pasted object that may lie on another."""
_SHOWN = 3


class _Pasted(NamedTuple):
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


def analyze(setting: Setting) -> Findings:
    """Where the pasted class's word peaks before and after, the prompt being the same: names of base and pasted."""
    backbone, dataset = setting.load_backbone(), setting.open_images()
    before, after, on_others = [], [], []
    shown: list[tuple[_Pasted, list[Tensor]]] = []
    for number, pasted in enumerate(_pastes(dataset, setting.seed), start=1):
        prompt = " ".join(pasted.names)
        word = words_in(backbone, prompt, [pasted.name])
        maps = [
            maps_of(backbone, sample, prompt, word, setting.image_range)[pasted.name]
            for sample in (pasted.before, pasted.after)
        ]
        before.append(localise(maps[0][None], pasted.mask[None]))
        after.append(localise(maps[1][None], pasted.mask[None]))
        on_others.append([localise(heat[None], pasted.others[None]) for heat in maps])
        if len(shown) < _SHOWN:
            shown.append((pasted, maps))
        setting.report("copy-paste", number, len(dataset))
    if not before:
        raise ValueError("no object could be pasted: the images need free background and objects of several classes")
    _draw(setting, shown)
    area = _mean(after, "area")
    shares = {
        "before": _shares(before, [pair[0] for pair in on_others]),
        "after": _shares(after, [pair[1] for pair in on_others]),
    }
    return Findings(
        numbers={"pastes": len(before), "area": area, **shares},
        columns=("image", "peak on the place of pasting", "mass there", "peak on another object", "mass there"),
        rows=[(when, *(f"{100 * value:.1f} %" for value in found.values())) for when, found in shares.items()],
        remark=(
            f"{len(before)} pastes; what is pasted covers {100 * area:.1f} % of the image: what a blind map "
            "scores. Before, the word has no object; after, it has one."
        ),
    )


def _shares(own: Sequence[Localised], others: Sequence[Localised]) -> dict[str, float]:
    return {
        "peak_on_pasted": _mean(own, "hit"),
        "mass_on_pasted": _mean(own, "mass"),
        "peak_on_others": _mean(others, "hit"),
        "mass_on_others": _mean(others, "mass"),
    }


def _mean(found: Sequence[Localised], name: str) -> float:
    return float(torch.cat([getattr(one, name) for one in found]).mean())


def _pastes(dataset: SampleDataset, seed: int) -> Iterator[_Pasted]:
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
            yield _Pasted(name, words, before, before._replace(image=image), mask, others)


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


def _draw(setting: Setting, shown: Sequence[tuple[_Pasted, list[Tensor]]]) -> None:
    rows = []
    for pasted, maps in shown:
        row = []
        for label, sample, heat in zip(("before", "after"), (pasted.before, pasted.after), maps, strict=True):
            image = to_pil(sample.image)
            row += [Panel(label, image), heat_panel(image, f"“{pasted.name}”", heat.numpy())]
        rows.append(row)
    title = "Copy-paste: the map of a word before and after an object of its name is pasted in"
    foot = (
        "Mean over heads, layers and strides; each map scaled to its own maximum. The prompt of a row is the same.",
    )
    sheet_figure(setting.figure("copy-paste"), titles=[title], rows=rows, foot=foot, side=1.8)
