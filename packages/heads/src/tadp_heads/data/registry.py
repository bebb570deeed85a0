"""The data sets that the paper's tables and their neighbours are measured on, by name; docs/datasets.md says more.

A data set is named in one string as NAME:FOLDER, with the folder that its download was unpacked into; a string without
a known name is a user's own folder.
"""

from pathlib import Path

from tadp_heads.data.check.dataset import CheckReport, check_dataset, unopened
from tadp_heads.data.check.folder import check_folder
from tadp_heads.data.errors import DataError
from tadp_heads.data.files import require_folder
from tadp_heads.data.known import DATASETS
from tadp_heads.data.readers.user_folder import annotated_splits, open_folder
from tadp_heads.data.sample import SampleDataset, Transform


def open_dataset(name: str, root: str | Path, split: str, transform: Transform | None = None) -> SampleDataset:
    """One of DATASETS from the folder that its download was unpacked into.

    ValueError for an unknown name or split, DataError for another layout.
    """
    DATASETS.check(name)
    entry = DATASETS[name]
    if split not in entry.splits:
        raise ValueError(f"{name} has no split {split!r} with annotations; choose from {', '.join(entry.splits)}")
    root = require_folder(Path(root), f"the folder that {name} was unpacked into")
    return entry.open(root, split, transform)


def open_data(
    where: str | Path, task: str | None = None, split: str | None = None, transform: Transform | None = None
) -> SampleDataset:
    """NAME:FOLDER of DATASETS, or a user's own folder. `split` None: everything a user's folder has.

    Errors as of `open_dataset`; ValueError for a data set of another task.
    """
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
            raise ValueError(f"split {split!r}: your own folder is checked completely; leave the split out")
        return check_folder(folder, task)
    if split is not None:
        return [check_dataset(folder, open_dataset(name, folder, split))]
    found, errors = _opened(name, folder)
    if not found:
        return [unopened(folder, DATASETS[name].task, errors[0])]
    return [check_dataset(folder, dataset) for dataset in found.values()]


def labelled_splits(where: str | Path, task: str) -> tuple[str, ...]:
    """The splits of NAME:FOLDER that are there, or those of a user's folder that have labels; of images alone: ()."""
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
