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
        import os

        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "0"  # gigabytes come, and the hub's bars show it
        from tadp_backbone import BACKBONES
        from tadp_backbone import fetch as download

        for name in names:
            if name not in BACKBONES and "/" not in name:
                raise ValueError(
                    f"unknown weights {name!r}; choose from {', '.join(BACKBONES)}, or a hub id owner/name"
                )
        for name in names:
            console.print(f"{name}: {download(name)}", markup=False)
