"""`tadp demo`: the whole cross-domain workflow at small scale."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import DeviceOption, SeedOption
from tadp_cli.console.progress import bars, console


def demo(
    out: Annotated[Path, typer.Option(help="folder to write to")] = Path("runs/demo"),
    full: Annotated[bool, typer.Option("--full", help="three seeds, all domains, all tasks (hours)")] = False,
    seeds: Annotated[int | None, typer.Option(help="number of seeds; default: 1, with --full 3")] = None,
    steps: Annotated[int | None, typer.Option(help="training steps per head; default: the plan's")] = None,
    train_images: Annotated[int | None, typer.Option(help="training images; default: the plan's")] = None,
    scored_images: Annotated[int | None, typer.Option(help="evaluation images; default: the plan's")] = None,
    prompts: Annotated[list[str] | None, typer.Option("--prompt", help="kind of prompt; repeatable")] = None,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
) -> None:
    """Caption, clean, learn a token, train on photos, evaluate on photos and watercolors; table and report.

    Example: `tadp demo --out runs/demo`
    """
    with one_line_errors():
        from dataclasses import replace

        from tadp_cli.console.metric_tables import show_rows
        from tadp_cli.console.resources import resources_used
        from tadp_cli.experiments.demo import FULL, QUICK, run_demo

        plan = FULL if full else QUICK
        given: dict[str, Any] = {
            "seeds": seeds,
            "steps": steps,
            "train_images": train_images,
            "scored_images": scored_images,
            "prompts": tuple(prompts) if prompts else None,
        }
        plan = replace(plan, **{name: value for name, value in given.items() if value is not None})
        with bars() as report:
            results = run_demo(out, plan, device=device, seed=seed, report=report)
        show_rows(console, results)
        lines = (
            f"\nresults: {out / 'results.json'}\nreport:  {out / 'report.html'}",
            resources_used(),
            "on your own images: tadp caption my_data --captioner blip2 --out captions.jsonl",
            "                    tadp train segmentation --data my_data --captions captions.jsonl --out runs/mine",
        )
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
