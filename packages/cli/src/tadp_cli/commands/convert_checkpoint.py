"""`tadp convert-checkpoint`: a published file in, a run out."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import OutFolder
from tadp_cli.console.progress import console


def convert_checkpoint(
    file: Annotated[Path, typer.Argument(help="checkpoint of the paper's public code or of VPD, .ckpt / .pth")],
    out: OutFolder,
    base: Annotated[str, typer.Option(help="backbone that provides the frozen parts missing in the file")] = "sd15",
    classes: Annotated[
        Path | None, typer.Option(help="class names, one per line, or objectInfo150.txt; known for 19 and 21 classes")
    ] = None,
    heads: Annotated[int | None, typer.Option(help="attention heads of the UNet; empty: Stable Diffusion's")] = None,
    latent_scale: Annotated[
        float | None, typer.Option(help="factor on the latents; empty: the VAE's own; 1: none, as in VPD")
    ] = None,
    max_depth: Annotated[float, typer.Option(help="largest depth of a depth head, metres")] = 10.0,
) -> None:
    """Turn a published checkpoint (UNet, VAE, head) into a run for `tadp eval` and `predict`.

    Example: `tadp convert-checkpoint nyu_best.ckpt --base sd15 --out runs/nyu`
    """
    with one_line_errors():
        from tadp_cli.pipelines.convert_checkpoint import convert

        converted = convert(
            file, out, base=base, classes=classes, num_heads=heads, latent_scale=latent_scale, max_depth_m=max_depth
        )
        for name, value in converted.items():
            console.print(f"{name:10} {value}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"run: {out}", markup=False, highlight=False, soft_wrap=True)
