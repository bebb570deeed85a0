"""`tadp export`: a run in, one file out that runs without this code."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import DeviceOption, PluginOption
from tadp_cli.console.progress import console


def export(
    run: Annotated[Path, typer.Argument(help="folder of a run that `tadp train` made")],
    out: Annotated[Path, typer.Option("--out", help="file to write, .onnx or .pt2; its card lies next to it as .md")],
    format: Annotated[str, typer.Option(help="onnx: for onnxruntime; pt2: compiled for this device")] = "onnx",
    size: Annotated[
        str, typer.Option(help="of the images, HxW in pixels, or dynamic; empty: the size of the training images")
    ] = "",
    precision: Annotated[str, typer.Option(help="fp32, or fp16 for VAE and UNet")] = "fp32",
    caption: Annotated[
        str | None, typer.Option(help="text for all images, as a constant; none: a run of captions takes a context")
    ] = None,
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Export a run's whole model: pixels in; class logits, depth in metres, or boxes out.

    A prompt that is the same for all images is a constant of the graph. Where each image has its own, the graph takes
    the text's embedding too, and the text encoder is a second file. The file is compared with the model and timed.

    Example: `tadp export runs/first --size 512x512 --out first.onnx`
    """
    with one_line_errors():
        from tadp_cli.deployment.export import export_run, size_of

        done = export_run(
            run, out, format=format, size=size_of(size), precision=precision, caption=caption, device=device
        )
        lines = [f"largest difference: {', '.join(map(str, done.differences))}"]
        lines += [f"{name}: {value:.1f} ms per image" for name, value in done.milliseconds.items()]
        lines += [f"text encoder: {done.text_path}"] if done.text_path else []
        for line in (*lines, f"written: {done.path}"):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
