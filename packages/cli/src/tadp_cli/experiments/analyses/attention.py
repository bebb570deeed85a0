"""Figure 4: cross-attention before training, by kind of prompt: oracle, caption, averaged end tokens, class names."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.analysis.localisation import localise
from tadp_backbone.text.conditioning import averaged_eos_context
from tadp_backbone.text.word_attention import Word
from tadp_captioning import class_names_prompt
from tadp_cli.experiments.analyses.localisation import maps_of, mask_of, words_in
from tadp_cli.experiments.analyses.setting import Findings, Setting
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.report.heat_map_sheets import Panel, heat_panel, sheet_figure
from tadp_heads.data import Sample, SampleDataset
from tadp_heads.data.class_names import listed_names, object_names
from tadp_heads.data.present_classes import annotated_names

KINDS = {
    "oracle": "classes present",
    "caption": "caption",
    "averaged-eos": "averaged end tokens",
    "class-names": "all class names",
}
_COLUMNS = 6
"""Classes in the figure."""


def analyze(setting: Setting) -> Findings:
    """Of present classes: does the map lie on the object? Of absent ones that are named: how peaked is it?"""
    backbone, dataset = setting.load_backbone(), setting.open_images()
    names, listed = object_names(dataset.prompt_names), listed_names(dataset.prompt_names)
    annotated = annotated_names(dataset)
    present = {image_id: set(found) & set(names) for image_id, found in annotated.items()}
    captions = setting.captions(dataset)
    with torch.no_grad():
        averaged = averaged_eos_context(backbone, listed)
    vectors = {name: Word(name, (k,)) for k, name in enumerate(listed) if name in names}
    prompts: dict[str, Mapping[str, str] | Tensor] = {
        "oracle": {i: " ".join(annotated[i]) for i in dataset.ids},
        "caption": {i: captions[i] for i in dataset.ids},
        "averaged-eos": averaged,
        "class-names": dict.fromkeys(dataset.ids, class_names_prompt(listed)),
    }
    tally = {kind: _Tally() for kind in KINDS}
    shown = next((i for i in dataset.ids if len(present[i]) >= 2), dataset.ids[0])
    for number, image_id in enumerate(dataset.ids, start=1):
        sample = dataset.read(image_id)
        maps = {kind: _maps(setting, backbone, sample, prompt, vectors) for kind, prompt in prompts.items()}
        for kind, found in maps.items():
            tally[kind].count(dataset, sample, found, present[image_id])
        if image_id == shown:
            _draw(setting, sample, maps, [n for n in names if n in present[image_id]], names, captions[image_id])
        setting.report("attention", number, len(dataset))
    numbers = {kind: counted.means() for kind, counted in tally.items()}
    return Findings(
        numbers=numbers,
        columns=("prompt", "words", "peak on object", "mass on object", "spread", "absent: peak on any", "spread"),
        rows=[(KINDS[kind], *_cells(found)) for kind, found in numbers.items()],
        remark=(
            f"A present class is {100 * tally['oracle'].area():.1f} % of its image: the value of a uniform map. Spread "
            "is the share of the image over which a map lies (100 %: evenly). Absent: named classes without an object."
        ),
    )


class _Tally:
    """Sums over words of one kind of prompt."""

    def __init__(self) -> None:
        self.present: list[Tensor] = []
        """(hit, mass, area, spread) each."""
        self.absent: list[Tensor] = []
        """(peak on an object of whatever class, spread) each."""

    def count(self, dataset: SampleDataset, sample: Sample, maps: Mapping[str, Tensor], present: set[str]) -> None:
        objects = torch.stack([mask_of(dataset, sample, name) for name in present]).any(0) if present else None
        for name, heat in maps.items():
            if name in present:
                self.present.append(torch.stack(localise(heat[None], mask_of(dataset, sample, name)[None]))[:, 0])
            elif objects is not None:
                found = localise(heat[None], objects[None])
                self.absent.append(torch.stack((found.hit, found.spread))[:, 0])

    def area(self) -> float:
        return float(torch.stack(self.present).mean(0)[2]) if self.present else float("nan")

    def means(self) -> dict[str, float | int]:
        found: dict[str, float | int] = {"words": len(self.present)}
        if self.present:
            hit, mass, _, spread = torch.stack(self.present).mean(0).tolist()
            found |= {"peak_on_object": hit, "mass_on_object": mass, "spread": spread}
        if self.absent:
            hit, spread = torch.stack(self.absent).mean(0).tolist()
            found |= {"absent_words": len(self.absent), "absent_peak_on_any": hit, "absent_spread": spread}
        return found


def _maps(
    setting: Setting,
    backbone: DiffusionBackbone,
    sample: Sample,
    prompt: Mapping[str, str] | Tensor,
    vectors: Mapping[str, Word],
) -> dict[str, Tensor]:
    """Of objects' classes; `vectors`: each one's place in a prompt that is an embedding."""
    if isinstance(prompt, Tensor):
        return maps_of(backbone, sample, prompt, vectors, setting.image_range, setting.scales)
    text = prompt[sample.id]
    return maps_of(backbone, sample, text, words_in(backbone, text, list(vectors)), setting.image_range, setting.scales)


def _cells(found: Mapping[str, float | int]) -> list[str]:
    shares = ("peak_on_object", "mass_on_object", "spread", "absent_peak_on_any", "absent_spread")
    return [str(found["words"]), *(f"{100 * found[key]:.1f} %" if key in found else "" for key in shares)]


def _draw(
    setting: Setting,
    sample: Sample,
    maps: Mapping[str, Mapping[str, Tensor]],
    present: Sequence[str],
    names: Sequence[str],
    caption: str,
) -> None:
    """One row per kind; the classes present first, then absent ones."""
    image = to_pil(sample.image)
    columns = [*present, *(name for name in names if name not in present)][:_COLUMNS]
    rows = []
    for kind, found in maps.items():
        row: list[Panel | None] = [Panel(kind, image)]
        for name in columns:
            heat = found.get(name)
            label = name if name in present else f"({name})"
            row.append(None if heat is None else heat_panel(image, label, heat.numpy()))
        rows.append(row)
    strides = "all strides" if setting.scales == "all" else "the head's strides"
    foot = (
        f"Mean over heads, layers and {strides}; tokens of a word summed; each map scaled to its own maximum.",
        "Classes in brackets are not in the image. A gap: the prompt does not name the class.",
    )
    title = f"Cross-attention before training, by kind of prompt. Caption: {caption}"
    sheet_figure(setting.figure("attention"), titles=[title], rows=rows, foot=foot, side=1.6)
