"""`tadp report`: finished runs side by side."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.progress import console


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders that `tadp train` made")],
) -> None:
    """One table of all scores: a line for each prompt, a column for each data set; runs of several seeds share a line.

    Example: `tadp report runs/empty runs/caption-seed0 runs/caption-seed1`
    """
    with one_line_errors():
        from tadp_cli.workflows.comparing import rows_of_runs
        from tadp_cli.workflows.tables import show_rows

        show_rows(console, {"rows": rows_of_runs(runs)})
