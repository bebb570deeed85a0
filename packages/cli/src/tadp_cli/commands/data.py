"""`tadp data ...`: what is wrong with a data set."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.progress import console

data_app = typer.Typer(help="Data sets in the user layouts.", no_args_is_help=True)


@data_app.callback()
def data() -> None:
    """Data sets in the user layouts."""


@data_app.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="a data set in one of the user layouts")],
    task: Annotated[str, typer.Option(help="segmentation, depth or detection; empty: all it has")] = "",
) -> None:
    """Find unpaired files, wrong sizes, unknown ids, classes never seen; the exit code tells.

    Example: `tadp data check my_data`
    """
    with one_line_errors():
        from tadp_heads.data.folders import check_folder

        reports = check_folder(folder, task or None)
        for report in reports:
            console.print(f"{report.task}: {report.images} images", markup=False)
            for name, share in report.histogram.items():
                console.print(f"  {name:20} {share}", markup=False)
            for line in (*report.problems, *report.warnings):
                console.print(line, markup=False)
        problems = sum(len(report.problems) for report in reports)
        if problems:
            raise RuntimeError(f"{problems} problems in {folder}; mend them and check again")
