"""`tadp personalize`: a domain from a handful of images."""

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.launchers import first_process
from tadp_cli.console.next_step import tell_next
from tadp_cli.console.options import DeviceOption, PluginOption, SeedOption
from tadp_cli.console.personalize_options import DomainPhraseOption, InitWordOption
from tadp_cli.console.progress import Bars, bars, console
from tadp_cli.console.tiny_warning import warn_of_tiny

if TYPE_CHECKING:
    from tadp_personalize import ImageReport, Personalization

_SCENES = 10
_PROMPTS = {"learnt": "learned", "initial_word": "initial word", "plain": "plain", "empty": "empty"}


def personalize(
    domain: Annotated[
        str, typer.Option(help="target domain, e.g. watercolor; gives the token its name and first word")
    ],
    out: Annotated[Path | None, typer.Option(help="folder to write to; none: domains/DOMAIN/METHOD")] = None,
    domain_phrase: DomainPhraseOption = "",
    init_word: InitWordOption = "",
    images: Annotated[
        str | None, typer.Option(help="the target's images: a folder, or NAME:FOLDER of a data set; none: Scenes")
    ] = None,
    split: Annotated[
        str, typer.Option(help="split of the data set in --images; empty: train, of dark-zurich train/night")
    ] = "",
    method: Annotated[str, typer.Option(help="textual-inversion, dreambooth, or both")] = "textual-inversion",
    backbone: Annotated[
        str,
        typer.Option(
            help="tiny, sd15, sd21, or a Stable Diffusion pipeline's folder; empty: tiny for Scenes, else sd15"
        ),
    ] = "",
    preset: Annotated[
        str, typer.Option(help="settings by name; empty: miniature for tiny, lora with --rank, else the paper's")
    ] = "",
    steps: Annotated[int | None, typer.Option(help="optimizer steps; default: the preset's")] = None,
    vectors: Annotated[int | None, typer.Option(help="vectors per token; default: the preset's")] = None,
    rank: Annotated[int | None, typer.Option(help="DreamBooth: train a LoRA of this rank, not the whole UNet")] = None,
    captioner: Annotated[
        str, typer.Option(help="captions each image; none: no captions; empty: tiny for tiny, else none")
    ] = "",
    held_out: Annotated[Path | None, typer.Option(help="held-out images for the denoising loss")] = None,
    count: Annotated[
        int | None, typer.Option(min=1, help="number of images, drawn by the seed; none: all of them, or 10 Scenes")
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="key=value of the method's settings, e.g. class_images=200, train_text_encoder=true"
        ),
    ] = None,
    samples: Annotated[
        bool, typer.Option("--samples", help="draw sample sheets of the learned token (paper, Figures S7 to S10)")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="resume the run in --out")] = False,
    only_estimate: Annotated[
        bool, typer.Option("--dry-run", help="only print the trained parameters and the memory needed")
    ] = False,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    plugin: PluginOption = None,
) -> None:
    """Learn a token for a domain from unlabelled images (paper 4.3, App. D.1).

    Example: `tadp personalize --domain watercolor --images paintings/ --out tokens/watercolor`
    """
    with one_line_errors():
        from dataclasses import replace

        from tadp_backbone.io.hub import locate
        from tadp_captioning import get_domain
        from tadp_cli.config.default_models import default_backbone, naming_tiny
        from tadp_cli.config.personalize_overrides import with_settings
        from tadp_cli.inputs.prepare import domain_folder
        from tadp_cli.pipelines.personalize import dry_run, settings_by_method
        from tadp_cli.run.lock import run_lock

        scenes = images is None
        backbone = backbone or default_backbone(() if images is None else (images,))
        configs = settings_by_method(method, backbone, preset, steps=steps, vectors=vectors, rank=rank)
        configs = with_settings(configs, options or ())
        if samples:  # those of the last step are drawn in any case
            configs = {name: replace(c, sample_every=c.sample_every or c.steps + 1) for name, c in configs.items()}
        if only_estimate:
            for name, config in configs.items():
                _tell(f"{name}: {dry_run(backbone, config)}")
            return
        chosen = get_domain(domain, domain_phrase)
        own = domain_folder(Path(), chosen.name, next(iter(configs)), rank or 0)
        out = out or (own if len(configs) == 1 else own.parent)
        learned = None
        if images is not None:
            from tadp_cli.inputs.domain_images import domain_images

            learned = domain_images(images, split)
            warn_of_tiny((images,), "take --backbone sd15", backbone=backbone, captioner=captioner)
        with naming_tiny(backbone, "--backbone tiny"):
            locate(backbone)
        count = count or (_SCENES if scenes else 0)
        sources = {
            "domain": chosen,
            "init_word": init_word,
            "images": learned,
            "held_out": held_out,
            "count": count,
            "captioner": captioner,
        }
        how = {"backbone": backbone, "device": device, "seed": seed}
        with run_lock(out) if first_process() else nullcontext(False) as killed:
            results = _run(configs, out, resume, killed, sources | how)
        _print_results(results)
        if scenes:
            tell_next(f"tadp personalize --domain {chosen.name} --images my_images/ --out tokens/{chosen.name}")


def _run(
    configs: dict[str, Any], out: Path, resume: bool, killed: bool, arguments: dict[str, Any]
) -> "dict[str, Personalization]":
    """One run per method, in a folder of its own where there are several; all of them finished."""
    from tadp_cli.pipelines.personalize import learn, write_comparison

    results = {}
    folders = {name: out / name if len(configs) > 1 else out for name in configs}
    arguments["resume"] = _resumes(folders.values(), resume, killed)
    for name, config in configs.items():
        with bars() as report:

            def progress(step: int, steps: int, loss: float, what: str = name, report: Bars = report) -> None:
                report(what, step, steps)
                report.progress.update(report.tasks[what], description=f"{what} loss {loss:.4f}")

            results[name] = learn(method=name, config=config, out=folders[name], progress=progress, **arguments)
        if not results[name].finished:
            raise RuntimeError(f"{name} was stopped after {results[name].steps} steps; --resume continues it")
    if len(configs) > 1:
        write_comparison(out, tuple(configs))
    return results


def _tell(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _resumes(folders: Iterable[Path], resume: bool, killed: bool) -> bool:
    """Whether there is a run to resume. An unfinished one resumes without being asked to, and so does the command of a
    process that was `killed` here; a finished one is not written over unasked."""
    folders = list(folders)
    finished = [folder for folder in folders if (folder / "results.json").is_file()]
    begun = finished or any((folder / "state").is_dir() for folder in folders)
    if len(finished) == len(folders) and not resume and not killed:
        raise ValueError(f"{finished[0]} holds a run already; add --resume to resume it, or name another --out")
    if resume and not begun and not killed:
        raise ValueError(f"{folders[0]} holds no run to resume; leave --resume out")
    return bool(begun)


def _print_results(results: "dict[str, Personalization]") -> None:
    _print_images(next(iter(results.values())).images)
    for result in results.values():
        _tell(f"{result.token}: {result.path}")
    _print_losses(results)


def _print_images(images: "ImageReport") -> None:
    _tell(f"{len(images.used)} images used, {len(images.skipped)} skipped, {len(images.duplicates)} duplicates")
    for name, reason in images.skipped.items():
        _tell(f"skipped {name}: {reason}")
    for name, first in images.duplicates.items():
        _tell(f"duplicate {name}: same as {first}")


def _print_losses(results: dict[str, "Personalization"]) -> None:
    """The held-out losses of all methods side by side, one row per prompt."""
    from rich.table import Table

    measured = {name: (result.before or {}, result.after) for name, result in results.items() if result.after}
    if not measured:
        _tell("no held-out images, so no number: name some with --held-out")
        return
    table = Table(title="denoising loss on held-out images", title_justify="left")
    table.add_column("prompt")
    for name in measured:
        table.add_column(f"{name} before", justify="right")
        table.add_column("after", justify="right")
    for kind, label in _PROMPTS.items():
        losses = [value for before, after in measured.values() for value in (before[kind], after[kind])]
        table.add_row(label, *(f"{loss:.5f}" for loss in losses))
    console.print(table)
