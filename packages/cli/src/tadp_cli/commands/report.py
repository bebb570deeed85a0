"""`tadp report`: finished runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import CaptionsOption, DeviceOption, PluginOption
from tadp_cli.console.progress import bars, console


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of `tadp train` or `tadp adapt`")],
    out: Annotated[
        Path | None, typer.Option(help="the page to write; none: report.html in the first run's folder")
    ] = None,
    images: Annotated[
        int, typer.Option(help="images to predict for the page, of the validation split or of --data; 0: none, fast")
    ] = 100,
    shown: Annotated[int, typer.Option(help="number of best and of worst images")] = 4,
    original_captions: Annotated[
        Path | None, typer.Option(help="captions before cleaning, to show its changes")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="a PNG: images, annotations and each run's prediction side by side")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="images to show: a data set, or a folder of images")
    ] = None,
    split: Annotated[
        str, typer.Option("--split", help="of --data; empty: its split with labels, else all of its images")
    ] = "",
    captions: CaptionsOption = None,
    domain: Annotated[str, typer.Option("--domain", help="of --data: its style words are removed from captions")] = "",
    target: Annotated[
        bool, typer.Option("--target", help="show images of the recipes' test data, not of the validation split")
    ] = False,
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Tables of all metrics, one HTML page: metrics, curves, classes, confusions, best and worst images.

    One row per prompt, one column per data set; runs that differ only in the seed share a row. The page works offline.
    --data and --split show any other set: with labels its best and worst images, without labels some of them.
    --sheet shows the largest gains and losses of the last run over the first (Figs. S11 to S20).

    Example: `tadp report runs/empty runs/caption-seed0 runs/caption-seed1 --out report.html`
    """
    with one_line_errors():
        from tadp_cli.console.metric_tables import show_rows
        from tadp_cli.experiments.compare import rows_of_runs
        from tadp_cli.pipelines.report import ReportOptions, set_to_show, write_run_report
        from tadp_cli.run.finished import runs_of
        from tadp_cli.run.lock import file_lock
        from tadp_cli.run.run import Run

        path = out or runs[0] / "report.html"
        given, runs = runs, [run for folder in runs for run in runs_of(folder)]
        adapted = runs != given and all(Run(run).recipe.test.folder for run in runs)
        options = ReportOptions(
            images=images,
            shown=shown,
            original_captions=original_captions,
            sheet=sheet,
            on_target=data is None and (target or adapted),
            where=set_to_show(Run(runs[0]).recipe.task, data, split, captions, domain, target),
            device=device,
        )
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"--out is {path}, expected the name of an .html file")
        with file_lock(path):  # a place that cannot be written to is known before the work
            recipes = {run: Run(run).finished_recipe() for run in runs}
            rows = rows_of_runs(runs)
            show_rows(console, {"rows": rows})
            with bars() as progress:
                write_run_report(path, recipes, rows, options, progress)
        console.print(f"\nreport: {path}", markup=False, highlight=False, soft_wrap=True)
