"""`tadp fetch`: weights, once, so that everything afterwards works offline."""

from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.progress import console


def fetch(names: Annotated[list[str], typer.Argument(help="names of backbones, e.g. sd15 sd21")]) -> None:
    """Download the weights of backbones from the first mirror that answers.

    Example: `tadp fetch sd15`
    """
    with one_line_errors():
        from tadp_backbone import fetch as download

        for name in names:
            console.print(f"{name}: {download(name)}", markup=False)
