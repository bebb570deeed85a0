"""`tadp analyze`: the figures of the paper's analyses, on Scenes or on a run and data of one's own."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import DeviceOption, PluginOption, SeedOption
from tadp_cli.console.progress import bars, console
from tadp_cli.console.tiny_warning import warn_of_recipe, warn_of_tiny

NAMES = "attention, variation, copy-paste, averaging, off-target, recall or object-size"


def analyze(
    name: Annotated[str, typer.Argument(help=NAMES)],
    out: Annotated[Path, typer.Option(help="folder to write to; data, heads and captions in it are reused")] = Path(
        "runs/analyses"
    ),
    run: Annotated[
        Path | None, typer.Option(help="a segmentation run, or an adaptation; none: a small head is trained on Scenes")
    ] = None,
    data: Annotated[str, typer.Option(help="a segmentation data set, folder or NAME:FOLDER; empty: Scenes")] = "",
    split: Annotated[str, typer.Option(help="split of the data set")] = "val",
    backbone: Annotated[str, typer.Option(help="without a run: a name, hub id, folder or file")] = "tiny",
    captioner: Annotated[str, typer.Option(help="captioner; empty: tiny for tiny, else blip2")] = "",
    images: Annotated[int, typer.Option(help="maximum number of images")] = 100,
    steps: Annotated[int, typer.Option(help="without a run: training steps of the head")] = 300,
    train_images: Annotated[int, typer.Option(help="without a run: training images of the head")] = 350,
    cosine: Annotated[
        float,
        typer.Option(
            help="recall: minimum CLIP cosine of a word and a class that match (paper: 0.9); 0: match by words"
        ),
    ] = 0.0,
    scales: Annotated[
        str,
        typer.Option(help="attention: head: maps of the head's input; all: of all layers, as in the paper's figure"),
    ] = "head",
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    plugin: PluginOption = None,
) -> None:
    """The paper's Figure 4 and S1 to S6: prints the numbers, draws the figure.

    attention: maps by kind of prompt (Fig. 4). variation: an image denoised under class names or its caption (S1).
    copy-paste: a word's attention before and after its object is pasted in (S2). averaging: end tokens averaged over
    templates (S3). off-target: an oracle's model prompted with all classes (S4). recall: a caption's recall against
    mIoU (S5). object-size: relative size against IoU (S6).

    Example: `tadp analyze recall --run runs/mine --data data/voc --split val`
    """
    with one_line_errors():
        from rich.table import Table

        from tadp_cli.experiments.analyses import ANALYSES
        from tadp_cli.experiments.analyses.setting import Setting
        from tadp_cli.experiments.analyze import check_name, run_analysis
        from tadp_cli.run.finished import run_of
        from tadp_cli.run.run import Run

        check_name(name)
        given = [data] if data else []
        if run is None:
            warn_of_tiny(given, "take --backbone sd15", backbone=backbone, captioner=captioner or backbone)
        else:
            run = run_of(run)
            warn_of_recipe(Run(run).finished_recipe(), *given)
        with bars() as report:
            setting = Setting(
                out=out,
                run=run,
                data=data,
                split=split,
                backbone=backbone,
                captioner=captioner,
                images=images,
                steps=steps,
                train_images=train_images,
                cosine=cosine,
                scales=scales,
                device=device,
                seed=seed,
                report=report,
            )
            findings = run_analysis(name, setting)
        table = Table(*findings.columns, title=f"{ANALYSES[name].figure}: {ANALYSES[name].title}")
        for row in findings.rows:
            table.add_row(*row)
        console.print(table)
        console.print(findings.remark, markup=False, highlight=False)
        console.print(f"written: {out / name}.png, {out / name}.json", markup=False, highlight=False, soft_wrap=True)
