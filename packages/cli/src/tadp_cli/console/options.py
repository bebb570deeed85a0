"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors


def _chosen_device(name: str) -> str:
    if name != "auto":
        return name
    with one_line_errors():
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"


DeviceOption = Annotated[
    str, typer.Option(help="torch device, e.g. cpu or cuda:1; auto: a GPU if there is one", callback=_chosen_device)
]
SeedOption = Annotated[int, typer.Option(help="seed of everything random")]
OutFolder = Annotated[Path, typer.Option("--out", help="folder to write to")]
DataOption = Annotated[Path | None, typer.Option("--data", help="a data set in one of the user layouts")]
CaptionsOption = Annotated[Path | None, typer.Option("--captions", help="captions, JSON Lines or the paper's JSON")]
