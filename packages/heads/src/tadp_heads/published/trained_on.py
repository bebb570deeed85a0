"""What a published checkpoint was trained on, by its number of classes."""

from dataclasses import dataclass, replace
from pathlib import Path

from tadp_heads.data.class_names import default_prompt_names
from tadp_heads.data.files import read_lines
from tadp_heads.data.readers.ade20k import read_object_names
from tadp_heads.data.readers.driving import CITYSCAPES_CLASSES, CITYSCAPES_PALETTE
from tadp_heads.data.readers.voc_detection import VOC_CLASSES, voc_prompt_names
from tadp_heads.data.sample import Color
from tadp_heads.depth import DepthHead
from tadp_heads.detection import FasterRCNNHead
from tadp_heads.pretrained import PretrainedHead


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """Classes, and how images were given to the model."""

    names: tuple[str, ...]
    palette: tuple[Color, ...] = ()
    protocol: str = ""
    image_range: str = "sd"

    @property
    def prompt_names(self) -> tuple[str, ...]:
        """Each class as prompts name it."""
        voc = self.names[-len(VOC_CLASSES) :] == VOC_CLASSES
        return voc_prompt_names(self.names) if voc else default_prompt_names(self.names)


_PIXELS = {
    21: TrainedOn(names=("background", *VOC_CLASSES), protocol="squash-512"),
    19: TrainedOn(names=CITYSCAPES_CLASSES, palette=CITYSCAPES_PALETTE, protocol="cityscapes", image_range="imagenet"),
    150: TrainedOn(names=tuple(f"class {i}" for i in range(150)), protocol="ade"),
}
_BOXES = {20: TrainedOn(names=VOC_CLASSES, protocol="voc2012-paper", image_range="imagenet")}
"""{number of classes: what a head with so many was trained on}."""


def trained_on(head: PretrainedHead, file: Path | None = None) -> TrainedOn:
    """By the number of the head's classes: Pascal VOC, Cityscapes or ADE20K; `file`: their names, in label order."""
    if isinstance(head, DepthHead):
        return TrainedOn(names=(), protocol="nyu-eigen")
    count = head.config.num_classes
    known = _BOXES if isinstance(head, FasterRCNNHead) else _PIXELS
    found = known.get(count, TrainedOn(names=tuple(f"class {i}" for i in range(count))))
    if file is None:
        return found
    names = read_object_names(file) if file.name == "objectInfo150.txt" else read_lines(file, "class names")
    if len(names) != count:
        raise ValueError(f"{file} names {len(names)} classes, the head has {count}")
    return replace(found, names=names, palette=found.palette if names == found.names else ())
