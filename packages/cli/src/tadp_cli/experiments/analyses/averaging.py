"""Figure S3: is it the averaging over 80 templates, or the end token itself, that makes maps diffuse?"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tadp_backbone.analysis.localisation import localise
from tadp_backbone.text.conditioning import averaged_eos_context
from tadp_backbone.text.word_attention import Word
from tadp_captioning import class_names_prompt
from tadp_cli.experiments.analyses.localisation import maps_of, mask_of, words_in
from tadp_cli.experiments.analyses.setting import Findings, Setting
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.report.heat_map_sheets import Panel, heat_panel, sheet_figure
from tadp_heads.data import Sample
from tadp_heads.data.class_names import listed_names, object_names
from tadp_heads.data.present_classes import present_classes

SINGLE_TEMPLATE = "a photo of a {}"
_SHOWN = 3


def analyze(setting: Setting) -> Findings:
    """End tokens averaged, end tokens of one template, and the words themselves: maps of the classes present."""
    backbone, dataset = setting.load_backbone(), setting.open_images()
    names, present = object_names(dataset.prompt_names), present_classes(dataset)
    listed = listed_names(dataset.prompt_names)
    vectors = {name: Word(name, (k,)) for k, name in enumerate(listed) if name in names}
    words = class_names_prompt(listed)
    with torch.no_grad():
        kinds: dict[str, tuple[str | Tensor, Mapping[str, Word]]] = {
            "80 templates averaged": (averaged_eos_context(backbone, listed), vectors),
            "one template": (averaged_eos_context(backbone, listed, [SINGLE_TEMPLATE]), vectors),
            "words, all names": (words, words_in(backbone, words, names)),
        }
    found: dict[str, list[Tensor]] = {kind: [] for kind in kinds}
    rows: list[list[Panel | None]] = []
    shown = next((i for i in dataset.ids if len(present[i]) >= 2), dataset.ids[0])
    for number, image_id in enumerate(dataset.ids, start=1):
        sample = dataset.read(image_id)
        own = [name for name in names if name in present[image_id]]
        for kind, (context, tokens) in kinds.items():
            wanted = {name: tokens[name] for name in own if name in tokens}
            maps = maps_of(backbone, sample, context, wanted, setting.image_range)
            for name, heat in maps.items():
                found[kind].append(torch.stack(localise(heat[None], mask_of(dataset, sample, name)[None]))[:, 0])
            if image_id == shown:
                rows.append(_row(kind, sample, maps, own))
        setting.report("averaging", number, len(dataset))
    title = "End tokens averaged over templates, of one template, and the words themselves"
    foot = ("Mean over heads, layers and strides; each map scaled to its own maximum.",)
    sheet_figure(setting.figure("averaging"), titles=[title], rows=rows, foot=foot, side=1.8)
    numbers = {kind: _means(values) for kind, values in found.items()}
    return Findings(
        numbers=numbers,
        columns=("context", "maps", "peak on object", "mass on object", "spread"),
        rows=[
            (kind, str(n["maps"]), *(f"{100 * n[key]:.1f} %" for key in ("hit", "mass", "spread")))
            for kind, n in numbers.items()
        ],
        remark=(
            f"An object is {100 * numbers['one template']['area']:.1f} % of its image: the value of a uniform map. "
            "Spread is the share of the image over which a map lies (100 %: evenly)."
        ),
    )


def _means(values: Sequence[Tensor]) -> dict[str, float]:
    means = torch.stack(list(values)).mean(0).tolist()
    return {"maps": len(values), **dict(zip(("hit", "mass", "area", "spread"), means, strict=True))}


def _row(kind: str, sample: Sample, maps: dict[str, Tensor], names: Sequence[str]) -> list[Panel | None]:
    image = to_pil(sample.image)
    heats = {name: maps.get(name) for name in names[:_SHOWN]}
    panels = [None if heat is None else heat_panel(image, name, heat.numpy()) for name, heat in heats.items()]
    return [Panel(kind, image), *panels]
