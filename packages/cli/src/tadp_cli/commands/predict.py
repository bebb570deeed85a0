"""`tadp predict`: a run and your own images in, overlays and raw results out."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.options import DeviceOption, OutFolder
from tadp_cli.progress import bars, console


def predict(
    run: Annotated[Path, typer.Argument(help="folder of a run that `tadp train` made")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="images, a folder, a .txt list or a glob")],
    out: OutFolder,
    caption: Annotated[str | None, typer.Option(help="text for all the images; none: the model captions them")] = None,
    device: DeviceOption = "cpu",
) -> None:
    """Predict images of any size: an overlay, the raw result and the caption of each.

    Example: `tadp predict runs/first photos/ --out predictions`
    """
    with one_line_errors():
        from tadp_cli.workflows.predicting import predict_images

        with bars() as report:
            done = predict_images(run, images, out, caption=caption, device=device, report=report)
        console.print(f"{len(done.written)} predicted, {len(done.failed)} failed: {out}")
        for name, reason in done.failed.items():
            console.print(f"failed: {name}: {reason}", markup=False)
        if done.failed:
            raise RuntimeError(f"{len(done.failed)} images could not be read; mend or remove them")
