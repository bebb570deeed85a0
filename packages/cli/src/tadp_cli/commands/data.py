"""`tadp data ...`: what is in a data set and what is wrong with it; Scenes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import PluginOption, SeedOption
from tadp_cli.console.progress import bars, console

if TYPE_CHECKING:
    from tadp_heads.data.check.dataset import CheckReport

data_app = typer.Typer(help="Check, import, list and generate data sets.", no_args_is_help=True)


@data_app.callback()
def data() -> None:
    """Data sets: check them, list those known by name, write Scenes."""


@data_app.command("submission")
def submission(
    predictions: Annotated[Path, typer.Argument(help="folder that `tadp predict` wrote for images of street scenes")],
    out: Annotated[Path, typer.Option("--out", help=".zip to write")],
    ids: Annotated[str, typer.Option(help="label: Cityscapes' label ids, or train: its train ids")] = "label",
) -> None:
    """Pack masks of Cityscapes' classes for an evaluation server: one PNG per image, under its name.

    Example: `tadp data submission predictions/fog --out fog.zip`
    """
    with one_line_errors():
        from tadp_heads.segmentation.submission import write_submission

        count = write_submission(predictions, out, ids)
        console.print(f"{count} masks: {out}", markup=False, highlight=False, soft_wrap=True)


@data_app.command("check")
def check(
    where: Annotated[str, typer.Argument(help="a data set in a user layout, or NAME:FOLDER (`tadp data list`)")],
    task: Annotated[str, typer.Option(help="segmentation, depth or detection; empty: all it has")] = "",
    split: Annotated[str, typer.Option(help="with NAME:FOLDER: split to check; empty: all")] = "",
    out: Annotated[Path, typer.Option("--out", help="folder for the contact sheets and report.json")] = Path(
        "runs/check"
    ),
    plugin: PluginOption = None,
) -> None:
    """Find unpaired files, wrong sizes, unknown ids, empty boxes, wrong units, absent classes; draw contact sheets.

    Exits with 1 where `tadp train` would fail, else prints the command that trains on these splits.

    Example: `tadp data check my_data`
    """
    with one_line_errors():
        from tadp_cli.pipelines.check_data import check_and_draw
        from tadp_heads.data.check.training import Splits, as_training_sees
        from tadp_heads.data.registry import check_data
        from tadp_heads.data.scenes.marker import is_scenes

        reports = check_data(where, task or None, split or None)
        splits: dict[str, Splits] = {}
        if not split:
            reports, splits = as_training_sees(where, reports)
        for report in reports:
            layout = f" ({report.layout})" if report.layout else ""
            console.print(f"{report.task}: {report.images} images{layout}", markup=False, highlight=False)
            for line in lines_of(report):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
        for sheet in check_and_draw(reports, out):  # after what was found, which does not depend on a place to draw
            if sheet is not None:
                console.print(f"sheet: {sheet}", markup=False, highlight=False, soft_wrap=True)
        for name, found in splits.items():
            recipe = f"scenes-{name}" if is_scenes(where) else name
            if found.train == found.val:
                message = f"note: {found.val} is the only split with labels; images to evaluate on belong in another"
                console.print(message, markup=False, highlight=False, soft_wrap=True)
            message = f"to train on it: tadp train {recipe} --data {where}{found.settings}"
            console.print(message, markup=False, highlight=False, soft_wrap=True)
        problems = sum(len(report.problems) for report in reports)
        if problems:
            raise RuntimeError(f"{problems} problems in {where}; fix them and check again")


def lines_of(report: "CheckReport") -> list[str]:
    """Sizes, histogram, depths, then all that is wrong."""
    sizes = [f"{width}x{height} ({count})" for (width, height), count in report.sizes.items()]
    lines = [f"  sizes: {', '.join(sizes[:5])}{f' and {len(sizes) - 5} more' if len(sizes) > 5 else ''}"] * bool(sizes)
    if report.depth_range_m is not None:
        lines.append("  depths: {:.3f} to {:.3f} m".format(*report.depth_range_m))
    total = sum(report.histogram.values())
    unit = "boxes" if report.task == "detection" else "pixels"
    for name, count in report.histogram.items():
        share = count / total if total else 0.0
        lines.append(f"  {name:20} {count:>12} {unit} {share:6.1%} {'#' * round(40 * share)}".rstrip())
    return [*lines, *(f"problem: {line}" for line in report.problems), *(f"note: {line}" for line in report.warnings)]


@data_app.command("import")
def import_data(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="a folder in the format of an annotation tool")],
    out: Annotated[Path, typer.Option("--out", help="folder to write to")],
    task: Annotated[str, typer.Option(help="segmentation or detection; empty: all it has")] = "",
    val: Annotated[float | None, typer.Option(help="share of images for validation, for a new split")] = None,
    test: Annotated[float | None, typer.Option(help="share of images for testing, for a new split")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of a new split")] = None,
    group: Annotated[
        str | None, typer.Option(help='images of a group share a split: "folder", or a regular expression on the id')
    ] = None,
) -> None:
    """Write images/, masks/, classes.txt and split files of LabelMe, COCO, YOLO, CVAT or Label Studio annotations.

    Images that cannot be read are left out and named in import.json. The same command resumes, and adds new
    labels. Example: `tadp data import labelme/ --out data/mine`
    """
    with one_line_errors():
        from tadp_cli.pipelines.import_data import import_data as run_import

        split = {"val": val, "test": test, "seed": seed, "group": group}
        with bars() as report:
            done = run_import(source, out, task or None, split, report)
        for line in (*done.dropped, *done.left_out):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        splits = ", ".join(f"{name} {count}" for name, count in done.splits.items())
        counts = f"{done.format}: {done.written} images written, {done.unchanged} were there already ({splits})"
        lost = f"{len(done.dropped)} left out, {len(done.left_out)} shapes without area"
        console.print(f"{counts}; {lost}: {out}", markup=False, highlight=False, soft_wrap=True)


@data_app.command("list")
def listing() -> None:
    """Data sets known by name, their tasks and splits; docs/datasets.md says where to get them.

    Example: `tadp data list`
    """
    from tadp_heads.data.known import DATASETS

    for name, entry in DATASETS.items():
        console.print(f"{name:18} {entry.task:12} {', '.join(entry.splits)}", markup=False, highlight=False)


@data_app.command("scenes")
def scenes(
    out: Annotated[Path, typer.Option("--out", help="folder to write to")],
    task: Annotated[str, typer.Option(help="segmentation, depth or detection")] = "segmentation",
    domain: Annotated[
        str, typer.Option("--domain", "--look", help="such as photo or sketch; photo+night takes both in turn")
    ] = "photo",
    train: Annotated[int, typer.Option(help="images to train on", min=0)] = 200,
    val: Annotated[int, typer.Option(help="images to evaluate on", min=0)] = 50,
    size: Annotated[int, typer.Option(help="side of the images in pixels", min=32)] = 64,
    seed: SeedOption = 0,
) -> None:
    """Write the procedural data set Scenes in a user layout, with splits train and val.

    Example: `tadp data scenes --domain watercolor --out data/watercolor`
    """
    with one_line_errors():
        from tadp_heads.data.scenes.write import write_scenes

        for split, count, first in (("train", train, 0), ("val", val, train)):
            if count:
                write_scenes(
                    out,
                    task=task,
                    domain=domain,
                    split=split,
                    count=count,
                    first=first,
                    seed=seed,
                    size=size,
                )
        console.print(f"{train + val} images in {out}", markup=False, highlight=False, soft_wrap=True)
