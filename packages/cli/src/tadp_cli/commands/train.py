"""`tadp train`: from a recipe and a data set to a run."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.launchers import first_process
from tadp_cli.console.next_step import tell_next
from tadp_cli.console.options import CaptionsOption, DataOption, DeviceOption, PluginOption
from tadp_cli.console.personalize_options import DomainPhraseOption
from tadp_cli.console.progress import bars, console, notes
from tadp_cli.console.tiny_warning import warn_of_recipe


def train(
    recipe: Annotated[
        str, typer.Argument(help="a name of `tadp recipes`, or a TOML file; empty: that of --data, scenes-segmentation")
    ] = "",
    out: Annotated[Path | None, typer.Option(help="folder to write to; none: runs/RECIPE")] = None,
    data: DataOption = None,
    captions: CaptionsOption = None,
    domain: Annotated[
        str, typer.Option(help="target domain, named in prompts by prompt.modifier, e.g. watercolor")
    ] = "",
    domain_phrase: DomainPhraseOption = "",
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, e.g. train.steps=100")] = None,
    fit: Annotated[
        str | None,
        typer.Option(help="memory, e.g. 12GB: picks batch size, accumulation, checkpointing and precision to fit"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="resume the run in --out")] = False,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="copy the frozen backbone into the run instead of referring to it")
    ] = False,
    device: DeviceOption = "auto",
    seed: Annotated[int | None, typer.Option(help="random seed; default: the recipe's train.seed")] = None,
    plugin: PluginOption = None,
) -> None:
    """Train a head and, at a lower learning rate, the UNet; evaluate on the validation split and test data.

    Without --data, recipes of the tiny models train on Scenes, which are generated in data/scenes.

    Example: `tadp train scenes-segmentation --data data/photo --out runs/first --set train.steps=300`
    """
    with one_line_errors():
        from tadp_cli.config.default_models import default_recipe
        from tadp_cli.config.recipe import load_recipe
        from tadp_cli.console.metric_tables import show_evaluations
        from tadp_cli.experiments.compare import rows_of_runs
        from tadp_cli.inputs.scenes_data import with_scenes
        from tadp_cli.pipelines.train_and_evaluate import run_experiment

        changes: dict[str, object] = {}
        if data is not None:
            changes["data.folder"] = str(data)
        if captions is not None:
            changes["data.captions"] = str(captions)
        if seed is not None:
            changes["train.seed"] = seed
        recipe = recipe or default_recipe(data)
        out = out or Path("runs") / (Path(recipe).stem if recipe.endswith(".toml") else recipe)
        target = {"domain": domain, "domain_phrase": domain_phrase}
        named = [f"prompt.{key}={value}" for key, value in target.items() if value]
        given = load_recipe(recipe, (*(settings or ()), *named)).replace(**changes)
        with bars() as report, notes():
            resolved = with_scenes(given, report).with_backbone
            if not resolved.data.folder:
                raise ValueError("no data set: name its folder with --data")
            warn_of_recipe(resolved)
            if fit is not None:
                from tadp_cli.pipelines.fit_to_memory import fitted

                resolved = fitted(resolved, fit, out, device=device, resume=resume)
            results = run_experiment(resolved, out, device=device, resume=resume, report=report, bundle=bundle)
        if not first_process():
            return
        for evaluation in results["evaluations"]:
            numbers = ", ".join(f"{name} {value:.4f}" for name, value in evaluation["metrics"].items())
            line = f"{evaluation['data']} {evaluation['split']}: {numbers}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        show_evaluations(console, resolved.task, {row["test"]: row for row in rows_of_runs([out])})
        console.print(f"run: {out}", markup=False, highlight=False, soft_wrap=True)
        if resolved.data.folder != given.data.folder:
            tell_next(f"tadp train {resolved.task} --data my_data/ --out runs/mine")
