"""`tadp fetch`: weights, once, so that everything afterwards works offline."""

from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.progress import console


def fetch(
    names: Annotated[list[str], typer.Argument(help="backbones, captioners and taesd, e.g. sd15 blip2; or hub ids")],
    offline: Annotated[bool, typer.Option("--offline", help="only print where they are, without a connection")] = False,
) -> None:
    """Download weights from the first mirror that answers; cached weights are not downloaded again.

    Prints their licences with the sources.

    Example: `tadp fetch sd15 blip2`
    """
    with one_line_errors():
        import os

        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "0"  # gigabytes come, and the hub's bars show it
        from tadp_cli.inputs.fetch import check_names, licence_lines
        from tadp_cli.inputs.fetch import fetch as download

        check_names(names)
        for name in names:
            for line in (f"{name}: {download(name, offline=offline)}", *licence_lines(name)):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
