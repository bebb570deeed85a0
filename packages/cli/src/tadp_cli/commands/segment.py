"""`tadp segment`: images and names of classes in, masks out; nothing is trained."""

from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import DeviceOption, OutFolder, PluginOption, PrecisionOption
from tadp_cli.console.progress import bars, console, notes


def segment(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="images, folders, .txt lists and globs")],
    out: OutFolder,
    classes: Annotated[str, typer.Option(help='names separated by commas, e.g. "dog, cat, grass"')],
    backbone: Annotated[
        str, typer.Option(help="a name, hub id, folder or file; empty: tiny for Scenes, else sd15")
    ] = "",
    threshold: Annotated[
        float, typer.Option(help="pixels below this share of the highest score are background; 0: no background")
    ] = 0.5,
    refine: Annotated[int, typer.Option(help="rounds in which self-attention refines the scores; 0: none")] = 2,
    precision: PrecisionOption = "auto",
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Segment images without training, by the frozen UNet's cross-attention to the class names.

    Writes what `tadp predict` writes: ID_mask.png (0 is the background), ID_overlay.png, legend.png, classes.json.

    Example: `tadp segment photos/ --classes "dog, cat, grass" --out segments`
    """
    with one_line_errors():
        from tadp_backbone.text.training_free import TrainingFreeConfig
        from tadp_cli.config.default_models import default_backbone
        from tadp_cli.deployment.segment import class_list, segment_images
        from tadp_cli.precision import Speed

        config, names = TrainingFreeConfig(threshold=threshold, refinements=refine), class_list(classes)
        source = backbone or default_backbone(images)
        with bars() as report, notes():
            done = segment_images(
                images, names, out, source, config, device=device, speed=Speed(precision=precision), report=report
            )
        counts = f"{len(done.written)} segmented, {len(done.there)} were there already, {len(done.failed)} failed"
        console.print(f"{counts}: {out}", markup=False, highlight=False, soft_wrap=True)
        for reason in done.failed.values():
            console.print(f"failed: {reason}", markup=False, highlight=False, soft_wrap=True)
        if done.failed:
            raise RuntimeError(f"{len(done.failed)} images could not be read; fix or remove them")
