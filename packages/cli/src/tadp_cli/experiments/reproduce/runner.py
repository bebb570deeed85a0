"""A table: the missing rows are trained and evaluated, and compared with the paper's numbers if it has any."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tadp_backbone.latent_memory import encoding_once
from tadp_cli.config.paper_tables import DomainTest, Table
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.experiments.reproduce.commands import commands_of
from tadp_cli.experiments.reproduce.costs import costs_of_rows
from tadp_cli.experiments.reproduce.plan import Bench, images_of_domain, plan_runs
from tadp_cli.experiments.unseen_domains import DOMAIN_IMAGES, DomainData, domain_data
from tadp_cli.inputs.domain_images import domain_images
from tadp_cli.inputs.prepare import LEARNED, cleaned, with_captions, with_domain
from tadp_cli.inputs.prerequisites import check_inputs
from tadp_cli.inputs.scenes_data import SEEDS, SOURCE
from tadp_cli.pipelines.fit_to_memory import fitted
from tadp_cli.pipelines.personalize import draw_domain
from tadp_cli.pipelines.train_and_evaluate import MEAN, ensure_experiment, evaluate_conditions, evaluate_once
from tadp_cli.run.run import RESULTS_FILE, Run
from tadp_heads.atomic_files import write_json, write_text
from tadp_heads.data.readers.driving_layouts import CONDITIONS
from tadp_heads.data.scenes.write import write_scenes

COMMANDS_FILE = "commands.txt"


class RowResult(NamedTuple):
    """One run of one row."""

    row: str
    seed: int
    metrics: dict[str, float]
    cleaner: str = ""
    """Of the target's captions; "" where it has none that were cleaned."""


@encoding_once()  # rows are evaluated on the same images
def reproduce(
    table: Table, bench: Bench, *, rows: Sequence[str] = (), seeds: int = 0, report: Report = lambda *_: None
) -> list[RowResult]:
    """Metrics of the rows named, or of all; writes results.json and the equivalent single commands.

    `seeds`: how many, counted up from the recipe's first; 0: the recipe's own.
    """
    plan = plan_runs(table, bench, rows, seeds)
    check_inputs(plan, bench)
    done: list[RowResult] = []
    commands: list[str] = []
    for index, planned in enumerate(plan):
        row, recipe, run = planned
        report(table.name, index, len(plan))
        ready = _prepared(recipe, bench, row.domains or SOURCE, report)
        if bench.fit:
            ready = fitted(ready, bench.fit, run, device=bench.device, resume=Run(run).begun)
        unseen = _unseen(table, ready, bench, report)
        metrics = _evaluated(table, ready, unseen, run, bench, report)
        cleaner = ready.test.cleaner if ready.needs_captions and (ready.test.folder or unseen) else ""
        done.append(RowResult(row.name, recipe.train.seed, metrics, cleaner))
        commands += commands_of(table, planned, ready, bench, unseen)
        write_json(bench.out / RESULTS_FILE, _results(table, bench, done))
        write_text(bench.out / COMMANDS_FILE, "".join(f"{line}\n" for line in dict.fromkeys(commands)))
    report(table.name, len(plan), len(plan))
    if table.costs:
        results = _results(table, bench, done) | {"costs": costs_of_rows(plan, bench.device)}
        write_json(bench.out / RESULTS_FILE, results)
    return done


def _prepared(recipe: Recipe, bench: Bench, trained_on: str, report: Report) -> Recipe:
    """The recipe with the data, captions and domains that it names made; `trained_on`: domains of Scenes."""
    if bench.scale == "miniature":
        recipe = _with_scenes(recipe, bench, trained_on)
    if recipe.needs_captions:
        recipe = with_captions(recipe, bench.out, bench.device, report, bench.limits)
        if trained_on != SOURCE:
            # Captions of photos rarely say that they are photos: where domains vary, none is to be named either.
            recipe = recipe.replace(**{"data.captions": str(cleaned(Path(recipe.data.captions), None))})
    if recipe.prompt.modifier in LEARNED:
        images, held_out = _images_to_learn(recipe, bench)
        recipe = with_domain(recipe, bench.out, images, held_out, bench.device, report)
    return recipe


def _images_to_learn(recipe: Recipe, bench: Bench) -> tuple[Path | list[Path], Path | None]:
    """Images of the recipe's domain, and those that are held out."""
    if bench.scale == "miniature":
        folder = bench.out / "domains" / recipe.prompt.domain / "images"
        return draw_domain(folder, recipe.prompt.domain, DOMAIN_IMAGES, SEEDS["domain"])
    return domain_images(images_of_domain(recipe, bench), recipe.personalize.split), None


def _with_scenes(recipe: Recipe, bench: Bench, domains: str) -> Recipe:
    source = bench.out / "data" / recipe.task / domains
    for split, count in (("train", bench.train_images), ("val", bench.scored_images)):
        write_scenes(source, task=recipe.task, domain=domains, split=split, count=count, seed=SEEDS[split])
    recipe = recipe.replace(**{"data.folder": str(source)})
    if not recipe.prompt.domain:
        return recipe
    target = source.with_name(recipe.prompt.domain)
    write_scenes(
        target,
        task=recipe.task,
        domain=recipe.prompt.domain,
        split=recipe.test.split,
        count=bench.scored_images,
        seed=SEEDS["test"],
    )
    return recipe.replace(**{"test.folder": str(target)})


def _unseen(table: Table, recipe: Recipe, bench: Bench, report: Report) -> dict[str, DomainData]:
    """{metric: what it is evaluated on}, of those evaluated on other domains of Scenes."""
    return {
        metric: domain_data(recipe, how, bench.out, bench.scored_images, bench.device, report, bench.limits)
        for metric, how in table.metrics.items()
        if isinstance(how, DomainTest) and bench.scale == "miniature"
    }


def _evaluated(
    table: Table, recipe: Recipe, unseen: dict[str, DomainData], run: Path, bench: Bench, report: Report
) -> dict[str, float]:
    """The table's metrics of one run, on the target where there is one; what is there already is not made again."""
    ensure_experiment(recipe, run, device=bench.device, report=report)
    found: dict[str, float] = {}
    by_condition = (
        evaluate_conditions(run, recipe, device=bench.device, report=report) if recipe.test.conditions else {}
    )
    for metric, how in table.metrics.items():
        name, _, condition = metric.removesuffix(")").partition(" (")
        if by_condition or condition in CONDITIONS:
            values = by_condition.get(condition or MEAN, {})
            found |= {metric: values[name]} if name in values else {}
            continue
        if metric in unseen:
            metrics = unseen[metric].evaluate(run, bench.device, report)
        elif isinstance(how, DomainTest) or (bench.scale == "miniature" and how):
            continue  # a test of the other scale: domains are of Scenes, and protocols are made for images of full size
        else:
            metrics = evaluate_once(run, recipe, how, device=bench.device, report=report)
        name = metric.partition(" (")[0]
        if name in metrics:  # a table over several tasks has metrics of each
            found[metric] = metrics[name]
    return found


def averages_of(table: Table, done: Sequence[RowResult]) -> dict[str, list[dict[str, float]]]:
    """{label: for each seed the mean of each metric over the rows}, of averages whose rows have all been run."""
    by_row = {row.name: {s.seed: s.metrics for s in done if s.row == row.name} for row in table.rows}
    found = {}
    for average in table.averages:
        seeds = set.intersection(*(set(by_row[name]) for name in average.rows))
        if seeds:
            found[average.label] = [_mean([by_row[name][seed] for name in average.rows]) for seed in sorted(seeds)]
    return found


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {metric: sum(row[metric] for row in rows) / len(rows) for metric in rows[0]}


def _results(table: Table, bench: Bench, done: list[RowResult]) -> dict[str, Any]:
    targets = {row.name: row.target for row in table.rows}
    rows = [
        {"row": s.row, "seed": s.seed, "metrics": s.metrics, "target": targets[s.row]}
        | ({"cleaner": s.cleaner} if s.cleaner else {})
        for s in done
    ]
    results = {"table": table.name, "scale": bench.scale, "rows": rows}
    averages = averages_of(table, done)
    if averages:
        wanted = {average.label: average.target for average in table.averages}
        results["averages"] = [{"label": key, "seeds": v, "target": wanted[key]} for key, v in averages.items()]
    return results
