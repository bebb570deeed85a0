"""`tadp doctor`: what this installation has, and what a backbone is."""

from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.progress import console


def doctor(
    backbone: Annotated[
        str | None, typer.Option(help="describe a backbone instead: a name, hub id, folder or file")
    ] = None,
    size: Annotated[int, typer.Option(help="side in pixels of the square image for GFLOPs")] = 512,
) -> None:
    """Show devices, memory, versions, attention, weights, what fits; a backbone's taps, parameters, GFLOPs.

    Works offline. Example: `tadp doctor --backbone sd15`
    """
    with one_line_errors():
        if backbone is not None:
            _describe(backbone, size)
            return
        from tadp_cli.doctor.checks import examine

        topic = ""
        for finding in examine():
            if finding.topic != topic:
                topic = finding.topic
                console.print(f"\n{topic}", style="bold")
            mark, style = (" ", None) if finding.fine else ("-", "yellow")
            line = f"{mark} {finding.name:<40} {finding.found}"
            console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


def _describe(name: str, size: int) -> None:
    from tadp_backbone import BACKBONES, DiffusionBackbone
    from tadp_backbone.summary import describe, untrained
    from tadp_backbone.vision.summary import describe_vision, untrained_vision
    from tadp_backbone.vision.table import is_vision

    if size < 1:
        raise ValueError(f"--size is {size}, expected a number of pixels above 0")
    if is_vision(name):
        shown = describe_vision(untrained_vision(name), size)
        console.print(str(shown), markup=False, highlight=False, soft_wrap=True)
        return
    if name in BACKBONES and BACKBONES[name].folder is None:
        described = untrained(name, device="meta")  # what the table says needs no weights
    else:
        described = DiffusionBackbone.from_pretrained(name, offline=True)
    console.print(str(describe(described, size)), markup=False, highlight=False, soft_wrap=True)
