"""A check of a data set: what `tadp train` would say of its splits, a contact sheet, and the reports as JSON."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tadp_cli._io import replacing, write_json
from tadp_heads.data.check.dataset import CheckReport, sample_sheet
from tadp_heads.data.errors import DataError
from tadp_heads.data.registry import labelled_splits, open_data, split_name


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


def with_splits(where: str, reports: Sequence[CheckReport]) -> tuple[list[CheckReport], dict[str, Splits]]:
    """The reports with what keeps `tadp train` from opening the splits; {task: splits} of those that it opens."""
    told: list[CheckReport] = []
    found: dict[str, Splits] = {}
    for report in reports:
        if not report.problems and report.task not in found:
            splits = trainable_splits(where, report.task)
            error = _refusal(where, report, splits)
            if splits is not None and error is None:
                found[report.task] = splits
            else:
                report = dataclasses.replace(report, problems=(*report.problems, str(error)))
        told.append(report)
    return told, found


def _refusal(where: str, report: CheckReport, splits: Splits | None) -> DataError | None:
    if splits is None:
        return DataError(
            split_name(where)[1],
            found="no split file that lists an image with labels",
            expected="train.txt and val.txt, an image id per line",
            fix="write them, or have `tadp data import` do it",
        )
    try:
        for split in splits:
            open_data(where, report.task, split)
    except DataError as error:
        return error
    return None


def check_and_draw(reports: Sequence[CheckReport], out: Path) -> list[Path | None]:
    """Writes report.json and a PNG for each report that has a readable image; returns the PNGs' paths."""
    sheets: list[Path | None] = []
    for number, report in enumerate(reports, start=1):
        picture = None if report.dataset is None else sample_sheet(report.dataset)
        suffix = f"_{number}" if len(reports) > 1 else ""
        if picture is None:
            sheets.append(None)
            continue
        path = out / f"{report.task}{suffix}.png"
        with replacing(path) as partial:
            picture.save(partial, format="PNG")
        sheets.append(path)
    write_json(out / "report.json", [_as_json(report) for report in reports])
    return sheets


def _as_json(report: CheckReport) -> dict:
    return {
        "root": str(report.root),
        "task": report.task,
        "layout": report.layout,
        "images": report.images,
        "sizes": {f"{width}x{height}": count for (width, height), count in report.sizes.items()},
        "histogram": report.histogram,
        "depth_range_m": report.depth_range_m,
        "problems": report.problems,
        "warnings": report.warnings,
    }
