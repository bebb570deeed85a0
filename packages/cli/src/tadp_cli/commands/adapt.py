"""`tadp adapt`: labels in one domain, images of another; the whole cross-domain workflow."""

from typing import Annotated, Any

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
from tadp_cli.console.launchers import require_one_process
from tadp_cli.console.options import CompileOption, DeviceOption, OutFolder, PluginOption, PrecisionOption, SeedOption
from tadp_cli.console.personalize_options import (
    CountOption,
    DomainPhraseOption,
    InitWordOption,
    LearnSplitOption,
    PresetOption,
    RankOption,
    personalize_changes,
)
from tadp_cli.console.progress import bars, console, notes
from tadp_cli.console.tiny_warning import warn_of_recipe


def adapt(
    domain: Annotated[str, typer.Option(help="the target's domain, e.g. watercolor")],
    out: OutFolder,
    source: Annotated[
        str, typer.Option(help="data set with labels: a folder, or NAME:FOLDER; none, and no target: Scenes")
    ] = "",
    target: Annotated[str, typer.Option(help="the other domain: a data set with labels, or images")] = "",
    domain_phrase: DomainPhraseOption = "",
    init_word: InitWordOption = "",
    task: Annotated[str, typer.Option(help="segmentation, depth or detection")] = "segmentation",
    modifier: Annotated[
        str, typer.Option(help="null, simple, textual-inversion, dreambooth, nearby or unrelated")
    ] = "textual-inversion",
    split: Annotated[str, typer.Option(help="split of the target that is evaluated; empty: the one with labels")] = "",
    recipe: Annotated[str, typer.Option(help="recipe; empty: the task's, for Scenes that of the tiny models")] = "",
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value, e.g. backbone.source=sd15")] = None,
    learn_split: LearnSplitOption = "",
    count: CountOption = None,
    rank: RankOption = None,
    preset: PresetOption = "",
    cleaner: CleanerOption = "",
    base_url: BaseUrlOption = None,
    price: PriceOption = None,
    max_usd: MaxUsdOption = 1.0,
    max_requests: MaxRequestsOption = None,
    precision: PrecisionOption = "auto",
    compile: CompileOption = None,
    baseline: Annotated[
        bool, typer.Option(help="also train without the domain, to compare both on a target with labels")
    ] = True,
    self_train: Annotated[
        bool, typer.Option("--self-train", help="also train on the target's images, on confident predictions")
    ] = False,
    device: DeviceOption = "auto",
    seed: SeedOption = 0,
    plugin: PluginOption = None,
) -> None:
    """Caption both domains, learn the target's domain, train on the source, evaluate or predict the target.

    A target with labels is evaluated on its split test, else val, else the only one that it has, before and after
    adaptation, and report.html shows both on its images; one without is predicted. The same command resumes. Example:
    `tadp adapt --source photos --target paintings --domain watercolor --out runs/adapted`
    """
    with one_line_errors():
        from tadp_cli.config.recipe import load_recipe
        from tadp_cli.inputs.preflight_checks import check_classes
        from tadp_cli.inputs.scenes_data import source_and_target
        from tadp_cli.pipelines.adapt import adapt as run
        from tadp_cli.pipelines.adapt import evaluated_split
        from tadp_cli.precision import Speed
        from tadp_heads.data.scenes.marker import is_scenes

        require_one_process("tadp adapt")
        with bars() as report:
            source, target = source_and_target(source, target, task, domain, report)
        changes = {"data.folder": source, "prompt.domain": domain, "train.seed": seed, "prompt.kind": "caption"}
        changes |= {"train.precision": precision} if precision != "auto" else {}
        changes |= {"test.cleaner": cleaner} if cleaner else {}
        changes |= {"prompt.domain_phrase": domain_phrase} if domain_phrase else {}
        changes |= personalize_changes(count, rank, preset, learn_split, init_word)
        if rank is not None and modifier != "dreambooth":
            raise ValueError(f"--rank {rank} goes with --modifier dreambooth, not with {modifier}")
        limits = cleaning_limits(base_url, price, max_usd, max_requests)
        recipe = recipe or (f"scenes-{task}" if is_scenes(source) else task)
        chosen = load_recipe(recipe, tuple(settings or ())).replace(**changes).with_backbone
        split, why = evaluated_split(target, chosen.task, split)
        status = f"the split {split} is evaluated" if split else "predicted, not evaluated"
        console.print(f"{target}: {status} ({why})", markup=False, highlight=False, soft_wrap=True)
        chosen = chosen.replace(**{"test.split": split})
        if split:
            check_classes(chosen, target, split)
        warn_of_recipe(chosen, target)
        with bars() as report, notes():
            adapted = run(
                chosen,
                modifier,
                target,
                labelled=bool(split),
                out=out,
                device=device,
                report=report,
                limits=limits,
                speed=Speed(precision=precision, compile=compile),
                baseline=baseline,
                self_train=self_train,
            )
        for when, results in (("before adaptation: ", adapted.before), ("", adapted.results)):
            for evaluation in results["evaluations"] if results else ():
                _tell(when + line_of(evaluation))
        if adapted.predicted is not None:
            _tell(f"predicted: {len(adapted.predicted.written)} images")
        if adapted.report is not None:
            _tell(f"report: {adapted.report}")
        _tell(f"run: {adapted.run}")


def line_of(evaluation: dict[str, Any]) -> str:
    """Data, split and metrics of one entry of results.json."""
    numbers = ", ".join(f"{name} {value:.4f}" for name, value in evaluation["metrics"].items())
    by = f" (captions cleaned by {evaluation['cleaner']})" if "cleaner" in evaluation else ""
    return f"{evaluation['data']} {evaluation['split']}: {numbers}{by}"


def _tell(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
