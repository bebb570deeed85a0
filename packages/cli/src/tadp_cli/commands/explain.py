"""`tadp explain`: where in an image each word of a caption attends."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.cleaning_options import (
    BaseUrlOption,
    CleanerOption,
    MaxRequestsOption,
    MaxUsdOption,
    PriceOption,
    cleaning_limits,
)
from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import DeviceOption, PluginOption, PrecisionOption
from tadp_cli.console.progress import console, notes
from tadp_cli.console.tiny_warning import warn_of_recipe, warn_of_tiny


def explain(
    image: Annotated[Path, typer.Argument(help="an image file")],
    out: Annotated[Path, typer.Option(help="PNG to write; the maps as numbers go into a .npz next to it")],
    caption: Annotated[str | None, typer.Option(help="the text; none: the run's model captions the image")] = None,
    compare: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="two texts in place of one, side by side")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="run whose UNet and prompts are used, and whose prediction is shown")
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="without a run: a name, hub id, folder or file; empty: tiny for Scenes, else sd15")
    ] = "",
    strides: Annotated[
        str, typer.Option(help="strides of the layers in pixels, e.g. 16,32; empty: those of the head's maps")
    ] = "",
    layers: Annotated[bool, typer.Option("--layers", help="show each stride and layer separately")] = False,
    ends: Annotated[bool, typer.Option("--ends", help="show the start and end tokens too")] = False,
    size: Annotated[int, typer.Option(help="maximum image side in pixels; larger images are scaled down")] = 512,
    cleaner: CleanerOption = "",
    base_url: BaseUrlOption = None,
    price: PriceOption = None,
    max_usd: MaxUsdOption = 1.0,
    max_requests: MaxRequestsOption = None,
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Draw one heat map per word over the image: the cross-attention maps that the head gets.

    Example: `tadp explain photo.jpg --caption "a red circle and a tree" --out words.png`
    """
    with one_line_errors():
        from tadp_cli.config.default_models import default_backbone, naming_tiny
        from tadp_cli.pipelines.explain import ExplainOptions, explain_image
        from tadp_cli.precision import Speed
        from tadp_cli.run.finished import run_of
        from tadp_cli.run.run import Run

        backbone = backbone or default_backbone((image,))
        if run is None:
            warn_of_tiny((image,), "take --backbone sd15", backbone=backbone)
        else:
            run = run_of(run)
            warn_of_recipe(Run(run).finished_recipe(), image)
        options = ExplainOptions(
            caption=caption,
            compare=compare,
            run=run,
            backbone=backbone,
            cleaner=cleaner,
            limits=cleaning_limits(base_url, price, max_usd, max_requests),
            strides=_numbers(strides),
            layers=layers,
            ends=ends,
            longest_side=size,
            speed=Speed(precision=precision),
        )
        with naming_tiny("" if run else backbone, "--backbone tiny"), notes():
            found = explain_image(image, out, options, device=device)
        for one in found:
            console.print(one.prompt, style="bold", markup=False, highlight=False, soft_wrap=True)
            for word, peak in one.peaks:
                console.print(f"{word:<20} max {peak:.3f}", markup=False, highlight=False)
            if one.unknown:
                message = f"The tiny model never read {', '.join(one.unknown)}: maps of unknown words mean nothing."
                console.print(message, style="yellow", markup=False, highlight=False, soft_wrap=True)
        console.print(found[0].pooling, markup=False, highlight=False, soft_wrap=True)
        console.print(f"written: {out}", markup=False, highlight=False, soft_wrap=True)


def _numbers(text: str) -> tuple[int, ...] | None:
    if not text:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() for part in parts):
        raise ValueError(f"--strides is {text!r}, expected numbers of pixels such as 16,32")
    return tuple(int(part) for part in parts)
