"""`tadp personalize`: a look from a handful of images."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tadp_cli.errors import FAILED_WORK, one_line_errors
from tadp_cli.options import DeviceOption, SeedOption
from tadp_cli.progress import bars, console

if TYPE_CHECKING:
    from tadp_personalize import ImageReport, Personalization

_PROMPTS = {"learnt": "learnt", "initial_word": "initial word", "plain": "plain", "empty": "empty"}


def personalize(
    domain: Annotated[
        str, typer.Option(help="target domain, e.g. watercolor; gives the token its name and first word")
    ],
    out: Annotated[Path | None, typer.Option(help="folder to write to")] = None,
    images: Annotated[
        Path | None, typer.Option(help="folder of the target's images; none: Scenes in that look")
    ] = None,
    method: Annotated[str, typer.Option(help="textual-inversion, dreambooth, or both")] = "textual-inversion",
    backbone: Annotated[str, typer.Option(help="tiny, sd15, sd21, or a Stable Diffusion pipeline's folder")] = "tiny",
    preset: Annotated[str, typer.Option(help="settings by name; empty: miniature for tiny, else the paper's")] = "",
    steps: Annotated[int | None, typer.Option(help="updates, in place of the preset's")] = None,
    vectors: Annotated[int | None, typer.Option(help="vectors a token, in place of the preset's")] = None,
    rank: Annotated[int | None, typer.Option(help="DreamBooth: train a LoRA of this rank, not the whole UNet")] = None,
    captioner: Annotated[
        str, typer.Option(help="says what each image shows; none: no captions; empty: the tiny one for tiny, else none")
    ] = "",
    held_out: Annotated[Path | None, typer.Option(help="images that are not trained on, to measure by")] = None,
    count: Annotated[int, typer.Option(help="how many Scenes are drawn when no images are given")] = 10,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="only say what would train and the memory it takes")
    ] = False,
    device: DeviceOption = "cpu",
    seed: SeedOption = 0,
) -> None:
    """Learn a token for a domain's look from unlabelled images (paper 4.3, App. D.1).

    Example: `tadp personalize --domain watercolor --images paintings/ --out tokens/watercolor`
    """
    with one_line_errors():
        from tadp_cli.workflows import personalizing

        methods = personalizing.METHODS if method == personalizing.BOTH else (method,)
        chosen = {"preset_name": preset, "steps": steps, "vectors": vectors, "rank": rank}
        if dry_run:
            for name in methods:
                config = personalizing.settings(name, backbone, **chosen)
                console.print(f"{name}: {personalizing.dry_run(name, backbone, config)}", markup=False, highlight=False)
            return
        if out is None:
            raise ValueError("--out is missing: name the folder to write to")
        results = {}
        for name in methods:
            folder = out / name if len(methods) > 1 else out
            with bars() as report:
                results[name] = personalizing.personalize(
                    domain=domain,
                    images=images,
                    method=name,
                    backbone=backbone,
                    captioner=captioner,
                    held_out=held_out,
                    count=count,
                    out=folder,
                    resume=resume,
                    device=device,
                    seed=seed,
                    report=report,
                    on_loss=lambda loss, report=report: report.progress.update(
                        report.tasks["personalize"], description=f"loss {loss:.4f}"
                    ),
                    **chosen,
                )
            if not results[name].finished:
                _tell(f"stopped after {results[name].steps} steps; go on with --resume")
                raise typer.Exit(FAILED_WORK)
        if len(methods) > 1:
            personalizing.write_comparison(out, methods)
        _print_images(next(iter(results.values())).images)
        for result in results.values():
            _tell(f"{result.token}: {result.path}")
        _print_losses(results)


def _tell(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print_images(images: "ImageReport") -> None:
    _tell(f"{len(images.used)} images used, {len(images.skipped)} skipped, {len(images.duplicates)} duplicates")
    for name, reason in images.skipped.items():
        _tell(f"skipped {name}: {reason}")
    for name, first in images.duplicates.items():
        _tell(f"duplicate {name}: same as {first}")


def _print_losses(results: dict[str, "Personalization"]) -> None:
    """The held-out losses of all methods side by side, one row a prompt."""
    from rich.table import Table

    measured = {name: result for name, result in results.items() if result.after is not None}
    if not measured:
        _tell("no held-out images, so no number: name some with --held-out")
        return
    table = Table(title="denoising loss on held-out images", title_justify="left")
    table.add_column("prompt")
    for name in measured:
        table.add_column(f"{name} before", justify="right")
        table.add_column("after", justify="right")
    for kind, label in _PROMPTS.items():
        losses = [value for result in measured.values() for value in (result.before[kind], result.after[kind])]
        table.add_row(label, *(f"{loss:.5f}" for loss in losses))
    console.print(table)
