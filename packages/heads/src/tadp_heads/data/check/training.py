"""What keeps a data set from being trained on, by the rule of training itself: its splits are opened and read."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tadp_heads.data.check.dataset import CheckReport
from tadp_heads.data.errors import DataError
from tadp_heads.data.registry import labelled_splits, open_data, split_name
from tadp_heads.data.sample import SampleDataset


class Splits(NamedTuple):
    """The splits of a data set that a recipe can train on and evaluate on."""

    train: str
    val: str

    @property
    def settings(self) -> str:
        """The options of `tadp train` for names other than the usual ones; "" where none is needed."""
        named = zip(self._fields, self, strict=True)
        return "".join(f" --set data.{usual}={name}" for usual, name in named if name != usual)


def trainable_splits(where: str, task: str) -> Splits | None:
    """The splits with labels by the usual names or similar ones; None: there is none."""
    there = labelled_splits(where, task)
    if not there:
        return None
    usual = [name for name in ("train", "trainval") if name in there]
    train = next(iter([*usual, *(name for name in there if "train" in name)]), there[0])
    others = [name for name in there if name != train and "train" not in name] or [
        name for name in there if name != train
    ]
    likely = [name for word in ("val", "test") for name in others if word in name]
    return Splits(train, "val" if "val" in others else next(iter([*likely, *others]), train))


def as_training_sees(where: str, reports: Sequence[CheckReport]) -> tuple[list[CheckReport], dict[str, Splits]]:
    """The reports with the problems that training would meet, and {task: splits} of those that it can train on.

    Training opens two splits and reads their samples. Where both open, what is wrong with anything else, such as a
    broken image that no split lists or an image in both splits, becomes a warning. Where one does not, all stays.
    """
    checked: list[CheckReport] = []
    found: dict[str, Splits] = {}
    opened: dict[str, set[str] | DataError] = {}
    for report in reports:
        task = report.task
        first = task not in opened
        if first:
            splits = _labelled(where, task)
            opened[task] = splits if isinstance(splits, DataError) else _ids(where, task, splits)
            if not isinstance(splits, DataError) and not isinstance(opened[task], DataError):
                found[task] = splits
        checked.append(_only_fatal_problems(report, opened[task], first))
        if checked[-1].problems:
            found.pop(task, None)
    return checked, found


def images_of_both(train: SampleDataset, val: SampleDataset) -> list[str]:
    """Ids of images that are trained on and evaluated; none where a single split serves for both."""
    shared = sorted(set(train.ids) & set(val.ids))
    return [] if len(shared) == len(train.ids) == len(val.ids) else shared


def _labelled(where: str, task: str) -> Splits | DataError:
    try:
        splits = trainable_splits(where, task)
    except DataError as error:
        return error
    if splits is not None:
        return splits
    return DataError(
        split_name(where)[1],
        found="no split file that lists an image with labels",
        expected="train.txt and val.txt, one image id per line",
        fix="write them, or have `tadp data import` do it",
    )


def _ids(where: str, task: str, splits: Splits) -> set[str] | DataError:
    """Of the samples that are trained on and evaluated."""
    try:
        return {sample_id for split in splits for sample_id in open_data(where, task, split).ids}
    except DataError as error:
        return error


def _only_fatal_problems(report: CheckReport, opened: set[str] | DataError, first: bool) -> CheckReport:
    if isinstance(opened, DataError):
        known = report.problems or ((str(opened),) if first else ())
        return replace(report, problems=known)
    problems = tuple(line for sample_id, line in report.unreadable.items() if sample_id in opened)
    others = tuple(line for line in report.problems if line not in problems)
    return replace(report, problems=problems, warnings=(*others, *report.warnings))
