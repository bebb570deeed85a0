"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.plugins import load_plugins


def _chosen_device(name: str) -> str:
    if name != "auto":
        return name
    with one_line_errors():
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"


DeviceOption = Annotated[
    str, typer.Option(help="torch device, e.g. cpu or cuda:1; auto: a GPU if there is one", callback=_chosen_device)
]
PrecisionOption = Annotated[
    str, typer.Option(help="auto, fp32, tf32, bf16 or fp16; auto: bf16 where the device computes in it")
]
CompileOption = Annotated[
    bool | None,
    typer.Option("--compile/--no-compile", help="compile the UNet's blocks; by default on a GPU from 65536 images on"),
]
SeedOption = Annotated[int, typer.Option(help="random seed")]


def _loaded_plugins(files: list[Path] | None) -> list[Path] | None:
    with one_line_errors():
        load_plugins(files or ())
    return files


PluginOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE",
        help="Python file that registers a head, task, data set, captioner, backbone, prompt kind or domain; see "
        "docs/extending.md",
        callback=_loaded_plugins,
    ),
]
EngineOption = Annotated[
    str, typer.Option(help="local: here, or by `accelerate launch`; ray: Ray's actors, each with a model of its own")
]
ActorsOption = Annotated[int, typer.Option(help="of --engine ray; 0: one per GPU, or a single one without")]
OutFolder = Annotated[Path, typer.Option("--out", help="folder to write to")]
DataOption = Annotated[Path | None, typer.Option("--data", help="a data set in one of the user layouts")]
CaptionsOption = Annotated[Path | None, typer.Option("--captions", help="captions, JSON Lines or the paper's JSON")]
