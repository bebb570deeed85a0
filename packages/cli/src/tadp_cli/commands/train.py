"""`tadp train`: from a recipe and a data set to a run."""

from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.launchers import first_process
from tadp_cli.console.options import CaptionsOption, DataOption, DeviceOption, OutFolder, PluginOption
from tadp_cli.console.progress import bars, console, notes


def train(
    recipe: Annotated[str, typer.Argument(help="a name of `tadp recipes`, or a TOML file")],
    out: OutFolder,
    data: DataOption = None,
    captions: CaptionsOption = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, e.g. train.steps=100")] = None,
    fit: Annotated[
        str | None,
        typer.Option(help="memory, e.g. 12GB: picks batch size, accumulation, checkpointing and precision to fit"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="resume the run in --out")] = False,
    device: DeviceOption = "auto",
    seed: Annotated[int | None, typer.Option(help="in place of the recipe's train.seed")] = None,
    plugin: PluginOption = None,
) -> None:
    """Train a head, and slowly the UNet; then evaluate it on the validation split and the recipe's test data.

    Example: `tadp train scenes-segmentation --data data/photo --out runs/first --set train.steps=300`
    """
    with one_line_errors():
        from tadp_cli.config.recipe import load_recipe
        from tadp_cli.pipelines.train_and_score import run_experiment

        changes: dict[str, object] = {}
        if data is not None:
            changes["data.folder"] = str(data)
        if captions is not None:
            changes["data.captions"] = str(captions)
        if seed is not None:
            changes["train.seed"] = seed
        resolved = load_recipe(recipe, tuple(settings or ())).replace(**changes)
        if not resolved.data.folder:
            raise ValueError("no data set: name its folder with --data")
        with bars() as report, notes():
            if fit is not None:
                from tadp_cli.pipelines.fit_to_memory import fitted

                resolved = fitted(resolved, fit, out, device=device, resume=resume)
            results = run_experiment(resolved, out, device=device, resume=resume, report=report)
        if not first_process():
            return
        for evaluation in results["evaluations"]:
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in evaluation["metrics"].items())
            line = f"{evaluation['data']} {evaluation['split']}: {numbers}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        console.print(f"run: {out}", markup=False, highlight=False, soft_wrap=True)
