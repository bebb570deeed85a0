"""The data sets that are known by name: their tasks and splits, and what opens them. Reading the table imports no
reader, and so not torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tadp_heads._registry import Registry
from tadp_heads.data.readers.driving_layouts import LAYOUTS

if TYPE_CHECKING:
    from tadp_heads.data.sample import SampleDataset, Transform

Opener = Callable[[Path, str, "Transform | None"], "SampleDataset"]


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """One data set in its official layout."""

    task: str
    splits: tuple[str, ...]
    """Those with annotations."""
    open: Opener
    """(folder, split, transform) -> the data set."""


def _opened(place: str, *arguments: Any, **keywords: Any) -> "SampleDataset":
    """A data set of a reader, "MODULE:NAME" below `readers`."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"tadp_heads.data.readers.{module}"), name)(*arguments, **keywords)


def _reader(place: str, *first: Any) -> Opener:
    return partial(_opened, place, *first)


def _voc_year(
    year: str, root: Path, split: str, transform: "Transform | None", xml_frame: bool = False
) -> "SampleDataset":
    from tadp_heads.data.readers.voc_detection import VOC_CLASSES, VOCDetection
    from tadp_heads.data.readers.voc_segmentation import find_voc

    return VOCDetection(find_voc(root, year), split, VOC_CLASSES, transform, xml_frame=xml_frame, declares_size=False)


def _voc0712(root: Path, split: str, transform: "Transform | None", xml_frame: bool = False) -> "SampleDataset":
    """Trained on both years' trainval, tested on 2007's test, as in the paper (docs/reference.md, section 3)."""
    from tadp_heads.data.concat import Joined

    if split == "test":
        return _voc_year("VOC2007", root, "test", transform, xml_frame)
    parts = [_voc_year(year, root, "trainval", None, xml_frame) for year in ("VOC2007", "VOC2012")]
    return Joined(parts, transform)


def _cross_domain(name: str, classes: str, root: Path, split: str, transform: "Transform | None") -> "SampleDataset":
    """Watercolor2k and its siblings: the folder of the download, or the one that holds it."""
    from tadp_heads.data.readers import voc_detection
    from tadp_heads.data.safe_paths import inside

    inner = root / name
    folder = inside(root, inner) if inner.is_dir() else root
    return voc_detection.VOCDetection(folder, split, getattr(voc_detection, classes), transform, declares_size=False)


def _acdc(root: Path, split: str, transform: "Transform | None") -> "SampleDataset":
    """One weather's split, "fog/val", or that of all four, "val"."""
    from tadp_heads.data.concat import Joined
    from tadp_heads.data.readers.driving import DrivingSegmentation

    if "/" in split:
        return DrivingSegmentation("acdc", root, split, transform)
    weathers = [name for name in LAYOUTS["acdc"].splits if name.endswith(f"/{split}")]
    return Joined([DrivingSegmentation("acdc", root, name) for name in weathers], transform)


def _segmentation(splits: tuple[str, ...], opener: Opener) -> DatasetEntry:
    return DatasetEntry(task="segmentation", splits=splits, open=opener)


def _driving(name: str) -> DatasetEntry:
    return _segmentation(LAYOUTS[name].splits, _reader("driving:DrivingSegmentation", name))


def _detection(splits: tuple[str, ...], opener: Opener) -> DatasetEntry:
    return DatasetEntry(task="detection", splits=splits, open=opener)


_VOC_SPLITS = ("train", "val", "trainval")
_BUILT_IN = {
    "voc2012": _segmentation((*_VOC_SPLITS, "trainaug"), _reader("voc_segmentation:VOCSegmentation")),
    "ade20k": _segmentation(("train", "val"), _reader("ade20k:ADE20K")),
    "cityscapes": _driving("cityscapes"),
    "dark-zurich": _driving("dark-zurich"),
    "nighttime-driving": _driving("nighttime-driving"),
    "acdc": _segmentation(("train", "val", *LAYOUTS["acdc"].splits), _acdc),
    "bdd100k": _segmentation(("train", "val"), _reader("bdd100k:BDD100KSegmentation")),
    "bdd100k-night": _segmentation(("train", "val"), partial(_opened, "bdd100k:BDD100KSegmentation", night=True)),
    "nyuv2": DatasetEntry(task="depth", splits=("train", "test"), open=_reader("nyuv2:NYUv2")),
    "voc2007-boxes": _detection((*_VOC_SPLITS, "test"), partial(_voc_year, "VOC2007")),
    "voc2012-boxes": _detection(_VOC_SPLITS, partial(_voc_year, "VOC2012")),
    "voc0712-boxes": _detection(("trainval", "test"), _voc0712),
    # As the paper's detector was trained and evaluated: boxes with the numbers of the XML files.
    "voc0712-boxes-xml": _detection(("trainval", "test"), partial(_voc0712, xml_frame=True)),
    "watercolor2k": _detection(("train", "test"), partial(_cross_domain, "watercolor", "WATERCOLOR_CLASSES")),
    "comic2k": _detection(("train", "test"), partial(_cross_domain, "comic", "WATERCOLOR_CLASSES")),
    "clipart1k": _detection(("train", "test"), partial(_cross_domain, "clipart", "VOC_CLASSES")),
    "coco": _detection(("train2017", "val2017"), _reader("coco:coco_split")),
}
DATASETS = Registry("data set", _BUILT_IN)


def register_dataset(name: str, *, task: str, splits: Sequence[str]) -> Callable[[Opener], Opener]:
    """Decorate a `SampleDataset` whose constructor takes (folder, split, transform), or a function of these.

    NAME:FOLDER then is this data set. `splits`: those with annotations. ValueError for a taken name.
    """

    def register(opener: Opener) -> Opener:
        from tadp_heads.registry import TASKS

        TASKS.check(task)
        DATASETS.add(name, DatasetEntry(task=task, splits=tuple(splits), open=opener))
        return opener

    return register
