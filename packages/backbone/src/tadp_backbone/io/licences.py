"""The licence of each part that this project fetches, reads or ships, and where it is stated.

The one table of licences: `tadp fetch`, cards and exports show its lines. It is no legal advice.
"""

from dataclasses import dataclass

from ..registry import BACKBONES, TAESD
from ..vision.table import VISION_BACKBONES

OTHER = "other"
"""The hub's key for a licence that is not on its list."""


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Terms of one part."""

    name: str
    key: str = OTHER
    """As the hub's metadata lists it."""
    source: str = ""
    """Where it is stated."""
    verified: bool = False
    """Whether the source, or a copy of it, was read for this table; else the line is from memory."""
    note: str = ""

    def __str__(self) -> str:
        stated = f" ({self.source})" if self.source else ""
        note = f"; {self.note}" if self.note else ""
        return f"{self.name}{stated}{note}" + ("" if self.verified else " [not verified]")


_RAIL = "use-based restrictions pass on to derived models, and to those who get them"
_OPT = (
    "its language model OPT: OPT-175B licence, non-commercial research (MODEL_LICENSE.md of facebookresearch/metaseq)"
)
_RESEARCH = "non-commercial research"


def _shipped(what: str) -> Licence:
    return Licence(name="Apache-2.0", key="apache-2.0", source=what, verified=True)


def _data(name: str, note: str = "", source: str = "") -> Licence:
    """Terms of a data set; `source`: what was read of them."""
    return Licence(name=name, source=source or "the data set's own pages", verified=bool(source), note=note)


_VOC = "Flickr's terms for the images"
_ART = _data(
    "education and research only",
    "who offers them does not hold the copyright of the images",
    "datasets/README.md of naoto0804/cross-domain-detection",
)
_BDD = _data(
    "BDD100K's licence",
    "education, research and not-for-profit purposes; commercial use for members of Berkeley DeepDrive",
    "doc/source/license.rst of bdd100k/bdd100k",
)
_DRIVING = _data(_RESEARCH)
_VISION = {
    "clip": "LICENSE of openai/CLIP",
    "dinov2": "README.md of facebookresearch/dinov2",
    "dinov2_with_registers": "README.md of facebookresearch/dinov2",
    "dinov3_vit": "README.md of facebookresearch/dinov3",
}
"""{model type: where the terms of its weights were read}."""


def _cleandift(base: str) -> Licence:
    return Licence(
        name="MIT",
        key="mit",
        source="model card of CompVis/cleandift",
        verified=True,
        note=f"its UNet; VAE and text encoder are those of {base}",
    )


def _vision() -> dict[str, Licence]:
    """Those of the vision transformers, as their table has them."""
    keys = {"Apache-2.0": "apache-2.0", "MIT": "mit"}
    table = {}
    for name, entry in VISION_BACKBONES.data.items():
        read = _VISION.get(entry.model_type) if entry.source else "drawn by tadp"
        table[name] = Licence(
            name=entry.licence,
            key=keys.get(entry.licence, OTHER),
            source=read or f"model card of {entry.source.repository}",
            verified=read is not None,
            note=entry.licence_note,
        )
    return table


LICENCES = {
    "tadp": _shipped("LICENSE of tadp"),
    "tiny": _shipped("model card in the package"),
    "scenes": _shipped("rendered by tadp"),
    "sd15": Licence(
        name="CreativeML Open RAIL-M",
        key="creativeml-openrail-m",
        source="README.md of runwayml/stable-diffusion",
        verified=True,
        note=_RAIL,
    ),
    "sd21": Licence(
        name="CreativeML Open RAIL++-M",
        key="openrail++",
        source="README.md of Stability-AI/stablediffusion",
        verified=True,
        note=_RAIL,
    ),
    "sdxl": Licence(
        name="CreativeML Open RAIL++-M",
        key="openrail++",
        source="model_licenses/LICENSE-SDXL1.0 of Stability-AI/generative-models",
        verified=True,
        note=_RAIL,
    ),
    "cleandift-sd15": _cleandift("sd15"),
    "cleandift-sd21": _cleandift("sd21"),
    "clip": Licence(
        name="MIT",
        key="mit",
        source="LICENSE of openai/CLIP",
        verified=True,
        note="of the code; the weights' page names none",
    ),
    TAESD: Licence(name="MIT", key="mit", source="LICENSE of madebyollin/taesd", verified=True),
    "blip2": Licence(name="MIT", key="mit", source="model card of Salesforce/blip2-opt-2.7b", verified=True, note=_OPT),
    "blip2-flan-t5-xl": Licence(
        name="MIT", key="mit", source="model card of Salesforce/blip2-flan-t5-xl", verified=True
    ),
    "florence2-base": Licence(name="MIT", key="mit", source="model card of microsoft/Florence-2-base"),
    "florence2-large": Licence(name="MIT", key="mit", source="model card of microsoft/Florence-2-large"),
    "qwen2.5-vl-3b": Licence(
        name="Qwen Research License",
        source="model card of Qwen/Qwen2.5-VL-3B-Instruct",
        verified=True,
        note="non-commercial",
    ),
    "qwen3-vl": Licence(name="Apache-2.0", key="apache-2.0", source="model card of Qwen/Qwen3-VL-2B-Instruct"),
    "smolvlm-256m": Licence(
        name="Apache-2.0",
        key="apache-2.0",
        source="model card of HuggingFaceTB/SmolVLM-256M-Instruct",
        verified=True,
    ),
    **_vision(),
    **dict.fromkeys(("voc2012", "voc2012-boxes"), _data(_VOC, source="VOC2012's page, Database Rights")),
    **dict.fromkeys(("voc2007-boxes", "voc0712-boxes", "voc0712-boxes-xml"), _data(_VOC)),
    "ade20k": _data(
        "annotations BSD-3-Clause", "terms of the images not read", "card of the data set scene_parse_150 on the hub"
    ),
    "cityscapes": _data(_RESEARCH, "no redistribution"),
    "dark-zurich": _DRIVING,
    "nighttime-driving": _DRIVING,
    "acdc": _DRIVING,
    "nyuv2": _data("research"),
    "watercolor2k": _ART,
    "comic2k": _ART,
    "clipart1k": _ART,
    "bdd100k": _BDD,
    "bdd100k-night": _BDD,
    "coco": _data(
        "annotations CC BY 4.0",
        "images under Flickr's terms; COCO does not hold their copyright",
        "dataset/termsofuse.htm of cocodataset/cocodataset.github.io",
    ),
}


def licence_of(part: str) -> Licence:
    """Of a backbone, captioner or data set by its name, or by the repository of a backbone of the table."""
    for name, entry in BACKBONES.items():
        if part in {source.repository for source in (*entry.sources, *entry.taesd_sources)}:
            part = TAESD if part in {source.repository for source in entry.taesd_sources} else name
    return LICENCES.get(part, Licence(name="unknown", source="see where it comes from"))


def licence_table() -> str:
    """All of the table as Markdown, as docs/licences.md has it."""
    rows = [
        f"| `{part}` | {licence.name} | {licence.source} | {'yes' if licence.verified else 'no'} | {licence.note} |"
        for part, licence in LICENCES.items()
    ]
    return "\n".join(["| part | licence | stated in | read | note |", "|---|---|---|---|---|", *rows]) + "\n"
