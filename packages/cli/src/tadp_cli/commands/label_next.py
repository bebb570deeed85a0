"""`tadp label-next`: selection of the images to label next (active learning)."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import DeviceOption, PluginOption, SeedOption
from tadp_cli.console.progress import bars, console


def label_next(
    run: Annotated[Path, typer.Argument(help="folder of a segmentation run that `tadp train` made")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="images, folders, .txt lists and globs")],
    out: Annotated[
        Path, typer.Option("--out", help="file to write: .txt, one path per line, or .csv with uncertainties")
    ],
    budget: Annotated[int, typer.Option(help="number of images to choose")] = 20,
    by: Annotated[str, typer.Option(help="text: disagreement between prompts; entropy; or random")] = "text",
    labelled: Annotated[
        list[str] | None, typer.Option(help="labelled images, which are left out together with similar images")
    ] = None,
    size: Annotated[int, typer.Option(help="longest image side in pixels for the model")] = 512,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    plugin: PluginOption = None,
) -> None:
    """Choose the images to label next: uncertain for the run, and diverse.

    Example: `tadp label-next runs/first photos/ --labelled my_data/images --budget 20 --out next.txt`
    """
    with one_line_errors():
        from tadp_cli.labelling.next_file import write_ranking
        from tadp_cli.labelling.next_images import label_next as choose

        with bars() as report:
            chosen, failed = choose(
                run,
                images,
                budget=budget,
                by=by,
                labelled=labelled or (),
                size=size,
                seed=seed,
                device=device,
                report=report,
            )
        write_ranking(chosen, out)
        for reason in failed.values():
            console.print(f"failed: {reason}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"{len(chosen)} images: {out}", markup=False, highlight=False, soft_wrap=True)
