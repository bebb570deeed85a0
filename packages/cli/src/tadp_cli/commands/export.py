"""`tadp export`: a run in, one file out that runs without this code."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import DeviceOption, PluginOption
from tadp_cli.console.progress import console


def export(
    run: Annotated[Path, typer.Argument(help="folder of a run that `tadp train` made; for web also tiny")],
    out: Annotated[
        Path, typer.Option("--out", help="file to write, .onnx or .pt2; its card lies next to it as .md; web: a folder")
    ],
    format: Annotated[
        str, typer.Option(help="onnx: for onnxruntime; pt2: compiled for this device; web: a page that runs it")
    ] = "onnx",
    size: Annotated[
        str, typer.Option(help="image size HxW in pixels, or dynamic; empty: the size of the training images")
    ] = "",
    precision: Annotated[str, typer.Option(help="fp32, or fp16 for VAE and UNet")] = "fp32",
    caption: Annotated[
        str | None,
        typer.Option(help="text for all images, stored as a constant; none: with captions, the context is an input"),
    ] = None,
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Export a run's whole model: pixels in; class logits, depth in metres, or boxes out.

    A prompt that is the same for all images is a constant of the graph. Where each image has its own, the graph takes
    the text's embedding too, and the text encoder is a second file. The file is compared with the model and timed.
    The web page shows each word's attention and the mask while the prompt is edited; for tiny, or a run of its size.

    Example: `tadp export runs/first --size 512x512 --out first.onnx`, `tadp export tiny --format web --out site`
    """
    with one_line_errors():
        from tadp_cli.deployment.export import WEB, export_run, export_site, size_of
        from tadp_cli.run.finished import run_of

        if format == WEB:
            if size or caption is not None or precision != "fp32":
                raise ValueError("--format web takes no --size, --precision or --caption: leave them out")
            differences = ", ".join(map(str, export_site(run, out)))
            for line in (f"largest difference: {differences}", f"written: {out / 'index.html'}; open it in a browser"):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        done = export_run(
            run_of(run), out, format=format, size=size_of(size), precision=precision, caption=caption, device=device
        )
        lines = [f"largest difference: {', '.join(map(str, done.differences))}"]
        lines += [f"{name}: {value:.1f} ms per image" for name, value in done.milliseconds.items()]
        lines += [f"text encoder: {done.text_path}"] if done.text_path else []
        for line in (*lines, f"written: {done.path}"):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
