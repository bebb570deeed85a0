"""`tadp explain`: where in an image each word of a caption attends."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.options import DeviceOption
from tadp_cli.progress import console


def explain(
    image: Annotated[Path, typer.Argument(help="an image file")],
    out: Annotated[Path, typer.Option(help="PNG to write; the maps as numbers go into a .npz beside it")],
    caption: Annotated[str | None, typer.Option(help="the text; none: the run's model captions the image")] = None,
    run: Annotated[Path | None, typer.Option(help="a run, whose UNet and prompt are used and prediction shown")] = None,
    backbone: Annotated[str, typer.Option(help="without a run: a name, hub id, folder or file")] = "tiny",
    size: Annotated[int, typer.Option(help="a longer side than this many pixels is scaled down to it")] = 512,
    device: DeviceOption = "cpu",
) -> None:
    """Draw one heat map a word: the cross-attention that the head is given, on the image.

    Example: `tadp explain photo.jpg --caption "a red circle and a tree" --out words.png`
    """
    with one_line_errors():
        from tadp_cli.workflows.explaining import explain_image

        words = explain_image(image, out, caption=caption, run=run, backbone=backbone, longest_side=size, device=device)
        for word, peak in words:
            console.print(f"{word:<20} max {peak:.3f}", markup=False, highlight=False)
        console.print(f"written: {out}", markup=False, highlight=False, soft_wrap=True)
