"""Figure S2: a word attends to the nearest match in an image; does it move to its own object once that is pasted in?"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tadp_backbone.analysis.localisation import Localised, localise
from tadp_cli.experiments.analyses.localisation import maps_of, words_in
from tadp_cli.experiments.analyses.setting import Findings, Setting
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.report.heat_map_sheets import Panel, heat_panel, sheet_figure
from tadp_heads.data.copy_paste import Pasted, pastes

_SHOWN = 3


def analyze(setting: Setting) -> Findings:
    """Where the pasted class's word peaks before and after, the prompt being the same: names of base and pasted."""
    backbone, dataset = setting.load_backbone(), setting.open_images()
    before, after, on_others = [], [], []
    shown: list[tuple[Pasted, list[Tensor]]] = []
    for number, pasted in enumerate(pastes(dataset, setting.seed), start=1):
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


def _draw(setting: Setting, shown: Sequence[tuple[Pasted, list[Tensor]]]) -> None:
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
