"""`tadp eval`: a run and a data set in, metrics out."""

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
from tadp_cli.console.launchers import first_process
from tadp_cli.console.next_step import tell_next
from tadp_cli.console.options import (
    CaptionsOption,
    CompileOption,
    DataOption,
    DeviceOption,
    PluginOption,
    PrecisionOption,
)
from tadp_cli.console.personalize_options import DomainPhraseOption
from tadp_cli.console.progress import bars, console, notes
from tadp_cli.console.tiny_warning import warn_of_recipe


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="folder of a run of `tadp train` or `adapt`; none: the newest below runs/")
    ] = None,
    data: DataOption = None,
    split: Annotated[str, typer.Option(help="split to evaluate; empty: the recipe's data.val")] = "",
    captions: CaptionsOption = None,
    protocol: Annotated[str, typer.Option(help="how images are predicted; empty: the recipe's")] = "",
    domain: Annotated[str, typer.Option(help="the data's domain: its style words are removed from captions")] = "",
    domain_phrase: DomainPhraseOption = "",
    modifier: Annotated[
        str, typer.Option(help="how prompts name the domain, such as null or simple; empty: as in training")
    ] = "",
    token_file: Annotated[str, typer.Option(help="learned_embeds.safetensors, for textual-inversion")] = "",
    cleaner: CleanerOption = "",
    base_url: BaseUrlOption = None,
    price: PriceOption = None,
    max_usd: MaxUsdOption = 1.0,
    max_requests: MaxRequestsOption = None,
    precision: PrecisionOption = "auto",
    compile: CompileOption = None,
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Evaluate a run on its own validation split or on any data set with the same classes.

    With --precision auto a run that was trained in fp32 is evaluated in fp32.

    Example: `tadp eval runs/first --data data/watercolor --split test --domain watercolor`
    """
    with one_line_errors():
        from tadp_cli.console.metric_tables import show_evaluations
        from tadp_cli.pipelines.evaluate import evaluated
        from tadp_cli.precision import Speed
        from tadp_cli.run.finished import newest_run, own_run
        from tadp_cli.run.run import Run
        from tadp_heads.data.scenes.marker import is_scenes

        run = newest_run(Path("runs")) if run is None else own_run(run)
        own = Run(run).finished_recipe()
        warn_of_recipe(own, *([data] if data else []))
        with bars() as report, notes():
            entry = evaluated(
                run,
                folder=None if data is None else str(data),
                split=split,
                captions=captions,
                protocol=protocol,
                domain=domain,
                domain_phrase=domain_phrase,
                modifier=modifier,
                token_file=token_file,
                cleaner=cleaner,
                limits=cleaning_limits(base_url, price, max_usd, max_requests),
                speed=Speed(precision=precision, compile=compile),
                device=device,
                report=report,
            )
        if first_process():  # before they are kept, which a run that cannot be written to refuses
            for name, value in entry["metrics"].items():
                console.print(f"{name:12} {value:.4f}")
            if "per_class" in entry:
                show_evaluations(console, own.task, {f"{Path(entry['data']).name}/{entry['split']}": entry})
            if "cleaner" in entry:
                console.print(f"captions cleaned by {entry['cleaner']}")
        Run(run).add_evaluation(entry)
        if first_process():
            console.print(f"added to {run / 'results.json'}", markup=False, highlight=False, soft_wrap=True)
            if data is None and is_scenes(own.data.folder):
                tell_next(f"tadp eval {run} --data my_data/ --split test, of a run with the classes of my_data")
