"""The data sets that the paper's tables and their neighbours are measured on, by name; docs/datasets.md says more.

A data set is named in one string as NAME:FOLDER, with the folder that its download was unpacked into; a string without
a known name is a user's own folder.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tadp_heads._registry import Registry
from tadp_heads.data.check.dataset import CheckReport, check_dataset, unopened
from tadp_heads.data.check.folder import check_folder
from tadp_heads.data.concat import Joined
from tadp_heads.data.errors import DataError
from tadp_heads.data.files import require_folder
from tadp_heads.data.readers.ade20k import ADE20K
from tadp_heads.data.readers.coco import coco_split
from tadp_heads.data.readers.driving import LAYOUTS, DrivingSegmentation
from tadp_heads.data.readers.nyuv2 import SPLIT_FOLDERS, NYUv2
from tadp_heads.data.readers.user_folder import annotated_splits, open_folder
from tadp_heads.data.readers.voc_detection import VOC_CLASSES, WATERCOLOR_CLASSES, VOCDetection
from tadp_heads.data.readers.voc_segmentation import VOCSegmentation, find_voc
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import SampleDataset, Transform
from tadp_heads.registry import TASKS

Opener = Callable[[Path, str, Transform | None], SampleDataset]


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """One data set in its official layout."""

    task: str
    splits: tuple[str, ...]
    """Those with annotations."""
    open: Opener
    """(folder, split, transform) -> the data set."""


def _voc_year(year: str, root: Path, split: str, transform: Transform | None, xml_frame: bool = False) -> VOCDetection:
    return VOCDetection(find_voc(root, year), split, VOC_CLASSES, transform, xml_frame=xml_frame, declares_size=False)


def _voc0712(root: Path, split: str, transform: Transform | None, xml_frame: bool = False) -> SampleDataset:
    """Trained on both years' trainval, tested on 2007's test, as in the paper (docs/reference.md, section 3)."""
    if split == "test":
        return _voc_year("VOC2007", root, "test", transform, xml_frame)
    parts = [_voc_year(year, root, "trainval", None, xml_frame) for year in ("VOC2007", "VOC2012")]
    return Joined(parts, transform)


def _cross_domain(
    name: str, classes: tuple[str, ...], root: Path, split: str, transform: Transform | None
) -> VOCDetection:
    """Watercolor2k and its siblings: the folder of the download, or the one that holds it."""
    inner = root / name
    folder = inside(root, inner) if inner.is_dir() else root
    return VOCDetection(folder, split, classes, transform, declares_size=False)


def _acdc(root: Path, split: str, transform: Transform | None) -> SampleDataset:
    """One weather's split, "fog/val", or that of all four, "val"."""
    if "/" in split:
        return DrivingSegmentation("acdc", root, split, transform)
    weathers = [name for name in LAYOUTS["acdc"].splits if name.endswith(f"/{split}")]
    return Joined([DrivingSegmentation("acdc", root, name) for name in weathers], transform)


def _driving(name: str) -> DatasetEntry:
    return DatasetEntry(task="segmentation", splits=LAYOUTS[name].splits, open=partial(DrivingSegmentation, name))


def _detection(splits: tuple[str, ...], opener: Opener) -> DatasetEntry:
    return DatasetEntry(task="detection", splits=splits, open=opener)


_VOC_SPLITS = ("train", "val", "trainval")
_BUILT_IN = {
    "voc2012": DatasetEntry(task="segmentation", splits=(*_VOC_SPLITS, "trainaug"), open=VOCSegmentation),
    "ade20k": DatasetEntry(task="segmentation", splits=("train", "val"), open=ADE20K),
    "cityscapes": _driving("cityscapes"),
    "dark-zurich": _driving("dark-zurich"),
    "nighttime-driving": _driving("nighttime-driving"),
    "acdc": DatasetEntry(task="segmentation", splits=("train", "val", *LAYOUTS["acdc"].splits), open=_acdc),
    "nyuv2": DatasetEntry(task="depth", splits=tuple(SPLIT_FOLDERS), open=NYUv2),
    "voc2007-boxes": _detection((*_VOC_SPLITS, "test"), partial(_voc_year, "VOC2007")),
    "voc2012-boxes": _detection(_VOC_SPLITS, partial(_voc_year, "VOC2012")),
    "voc0712-boxes": _detection(("trainval", "test"), _voc0712),
    # As the paper's detector was trained and scored: boxes with the numbers of the XML files.
    "voc0712-boxes-xml": _detection(("trainval", "test"), partial(_voc0712, xml_frame=True)),
    "watercolor2k": _detection(("train", "test"), partial(_cross_domain, "watercolor", WATERCOLOR_CLASSES)),
    "comic2k": _detection(("train", "test"), partial(_cross_domain, "comic", WATERCOLOR_CLASSES)),
    "clipart1k": _detection(("train", "test"), partial(_cross_domain, "clipart", VOC_CLASSES)),
    "coco": _detection(("train2017", "val2017"), coco_split),
}
DATASETS = Registry("data set", _BUILT_IN)


def register_dataset(name: str, *, task: str, splits: Sequence[str]) -> Callable[[Opener], Opener]:
    """Decorate a `SampleDataset` whose constructor takes (folder, split, transform), or a function of these.

    NAME:FOLDER then is this data set. `splits`: those with annotations.
    """

    def register(opener: Opener) -> Opener:
        TASKS.check(task)
        DATASETS.add(name, DatasetEntry(task=task, splits=tuple(splits), open=opener))
        return opener

    return register


def open_dataset(name: str, root: str | Path, split: str, transform: Transform | None = None) -> SampleDataset:
    """One of DATASETS from the folder that its download was unpacked into."""
    DATASETS.check(name)
    entry = DATASETS[name]
    if split not in entry.splits:
        raise ValueError(f"{name} has no split {split!r} with annotations; choose from {', '.join(entry.splits)}")
    root = require_folder(Path(root), f"the folder that {name} was unpacked into")
    return entry.open(root, split, transform)


def open_data(
    where: str | Path, task: str | None = None, split: str | None = None, transform: Transform | None = None
) -> SampleDataset:
    """NAME:FOLDER of DATASETS, or a user's own folder. `split` None: everything a user's folder has."""
    name, folder = split_name(where)
    if name is None:
        return open_folder(folder, task, split, transform)
    entry = DATASETS[name]
    if task not in (None, entry.task):
        raise ValueError(f"{name} is a data set for {entry.task}, not for {task}")
    if split is None:
        raise ValueError(f"{name}: name one of its splits {', '.join(entry.splits)}")
    return open_dataset(name, folder, split, transform)


def check_data(where: str | Path, task: str | None = None, split: str | None = None) -> list[CheckReport]:
    """Reports on NAME:FOLDER, one for each split that is there or for `split`, or on a user's own folder."""
    name, folder = split_name(where)
    if name is None:
        if split is not None:
            raise ValueError(f"split {split!r}: a folder of one's own is checked whole; leave the split out")
        return check_folder(folder, task)
    if split is not None:
        return [check_dataset(folder, open_dataset(name, folder, split))]
    found, errors = _opened(name, folder)
    if not found:
        return [unopened(folder, DATASETS[name].task, errors[0])]
    return [check_dataset(folder, dataset) for dataset in found.values()]


def labelled_splits(where: str | Path, task: str) -> tuple[str, ...]:
    """The splits of NAME:FOLDER that are there, or those of a user's folder that have labels; of pictures alone: ()."""
    name, folder = split_name(where)
    if name is None:
        return annotated_splits(folder, task)
    if task != DATASETS[name].task:
        raise ValueError(f"{name} is a data set for {DATASETS[name].task}, not for {task}")
    found, errors = _opened(name, folder)
    if not found:
        raise errors[0]
    return tuple(found)


def _opened(name: str, folder: Path) -> tuple[dict[str, SampleDataset], list[DataError]]:
    """The splits that are there, by name, and why others can't be opened."""
    found, errors = {}, []
    for part in DATASETS[name].splits:
        try:
            found[part] = open_dataset(name, folder, part)
        except DataError as error:
            errors.append(error)
    return found, errors


def split_name(where: str | Path) -> tuple[str | None, Path]:
    """ "cityscapes:data/cs" -> ("cityscapes", data/cs); a string without a known name -> (None, the path)."""
    name, colon, folder = str(where).partition(":")
    if colon and name not in DATASETS and name.isidentifier() and not Path(where).exists():
        raise ValueError(f"unknown data set {name!r} in {str(where)!r}; choose from {', '.join(DATASETS)}, or a folder")
    return (name, Path(folder).expanduser()) if colon and name in DATASETS else (None, Path(where).expanduser())
