"""`tadp personalize`: a look from a handful of images."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.options import DeviceOption, OutFolder, SeedOption
from tadp_cli.progress import bars, console


def personalize(
    domain: Annotated[
        str, typer.Option(help="target domain, e.g. watercolor; gives the token its name and first word")
    ],
    out: OutFolder,
    images: Annotated[
        Path | None, typer.Option(help="folder of the target's images; none: Scenes in that look")
    ] = None,
    method: Annotated[str, typer.Option(help="textual-inversion or dreambooth")] = "textual-inversion",
    backbone: Annotated[str, typer.Option(help="tiny, or a Stable Diffusion pipeline's folder")] = "tiny",
    preset: Annotated[str, typer.Option(help="settings by name; empty: miniature for tiny, else the paper's")] = "",
    steps: Annotated[int | None, typer.Option(help="updates, in place of the preset's")] = None,
    held_out: Annotated[Path | None, typer.Option(help="images that are not trained on, to measure by")] = None,
    count: Annotated[int, typer.Option(help="how many Scenes are drawn when no images are given")] = 10,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
) -> None:
    """Learn a token for a domain's look from unlabelled images (paper 4.3, App. D.1).

    Example: `tadp personalize --domain watercolor --images paintings/ --out tokens/watercolor`
    """
    with one_line_errors():
        from tadp_cli.workflows.personalizing import personalize as run

        with bars() as report:
            result = run(
                domain=domain,
                images=images,
                method=method,
                backbone=backbone,
                preset_name=preset,
                held_out=held_out,
                count=count,
                out=out,
                resume=resume,
                device=device,
                seed=seed,
                steps=steps,
                report=report,
            )
        console.print(f"{result.token}: {result.path}", markup=False)
        for name, losses in (("before", result.before), ("after", result.after)):
            if losses is not None:
                console.print(f"held-out denoising loss {name}: {losses}", markup=False)
