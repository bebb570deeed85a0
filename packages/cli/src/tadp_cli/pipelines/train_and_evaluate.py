"""A whole experiment: a recipe's training, and the metrics on its validation split and on its target domain."""

from pathlib import Path
from typing import Any

from tadp_captioning import CaptionStore, CleaningLimits, cleaner_of, load_cleaner
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN
from tadp_cli.config.paths import absolute
from tadp_cli.config.recipe import Recipe
from tadp_cli.config.vision import for_backbone
from tadp_cli.console.reporter import Report, quiet
from tadp_cli.inputs.preflight_checks import check_target
from tadp_cli.pipelines.evaluate import evaluate_run
from tadp_cli.pipelines.train import train
from tadp_cli.precision import AUTO, Speed
from tadp_cli.run.run import Run


def run_experiment(
    recipe: Recipe,
    out: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    report: Report = quiet,
    limits: CleaningLimits = NO_LIMITS_GIVEN,
    speed: Speed = AUTO,
    bundle: bool = False,
) -> dict[str, Any]:
    """`train`, then the evaluation on `recipe.test` where it names a data set; the content of results.json.

    `speed`: how the trained model computes. `bundle`: as for `train`.
    """
    recipe = for_backbone(recipe)
    if _cleans(recipe) and recipe.prompt.domain:  # a model without a price is an error before hours of training
        load_cleaner(recipe.test.cleaner, recipe.prompt.target, limits)
    if not Run(out).finished:
        check_target(recipe)
    train(recipe, out, device=device, resume=resume, report=report, bundle=bundle)
    if recipe.test.conditions:
        evaluate_conditions(out, recipe, device=device, report=report, limits=limits, speed=speed)
    elif recipe.test.folder:
        evaluate_once(out, recipe, "", device=device, report=report, limits=limits, speed=speed)
    return Run(out).results


def ensure_experiment(recipe: Recipe, out: Path, **how: Any) -> dict[str, Any]:
    """`run_experiment`, skipping finished parts."""
    return run_experiment(recipe, out, resume=Run(out).begun, **how)


def evaluate_once(
    run: Path,
    recipe: Recipe,
    protocol: str,
    *,
    device: str = "cpu",
    report: Report = quiet,
    limits: CleaningLimits = NO_LIMITS_GIVEN,
    speed: Speed = AUTO,
) -> dict[str, float]:
    """Metrics of a trained run by a protocol, "" for the recipe's, on the target where the recipe has one.

    Read from results.json where they are there already, of captions by the same cleaner.
    """
    test = recipe.test
    where = (test.folder, test.split) if test.folder else (recipe.data.folder, recipe.data.val)
    known = Run(run).metrics_at((absolute(where[0]), where[1], protocol, "", ""), _cleaner(recipe))
    if known is not None:
        return known
    entry = evaluate_run(
        run,
        folder=where[0],
        split=where[1],
        captions=Path(test.captions) if test.folder and test.captions else None,
        protocol=protocol,
        domain=recipe.prompt.domain if _cleans(recipe) else "",
        limits=limits,
        speed=speed,
        device=device,
        report=report,
    )
    return entry["metrics"]


MEAN = "mean"
"""Of the conditions."""


def evaluate_conditions(run: Path, recipe: Recipe, **how: Any) -> dict[str, dict[str, float]]:
    """{condition, or MEAN: metrics} of a trained run, prompts by the image's condition.

    What results.json has already is not evaluated again; the mean is an entry of its own there.
    """
    test, cleaner = recipe.test, _cleaner(recipe)
    found = {}
    for condition, split in zip(test.conditions, test.splits, strict=True):
        asked = (test.modifier, "" if test.modifier == "null" else condition)
        known = Run(run).metrics_at((absolute(test.folder), split, "", *asked), cleaner)
        if known is None:
            captions = Path(test.captions) if test.captions else None
            named = condition if recipe.needs_captions or test.modifier != "null" else ""
            place = {"folder": test.folder, "split": split, "captions": captions}
            known = evaluate_run(run, **place, domain=named, modifier=test.modifier, **how)["metrics"]
        found[condition] = known
    names = next(iter(found.values()))
    mean = {name: sum(metrics[name] for metrics in found.values()) / len(found) for name in names}
    split = f"mean of {', '.join(test.splits)}"
    Run(run).add_evaluation({"data": absolute(test.folder), "split": split, "metrics": mean})
    return {**found, MEAN: mean}


def _cleans(recipe: Recipe) -> bool:
    """Whether the target's captions are written and cleaned when it is evaluated."""
    return bool(recipe.test.folder and recipe.needs_captions and not recipe.test.captions)


def _cleaner(recipe: Recipe) -> str:
    """Of the target's captions, as their file records it; "" for none."""
    captions = Path(recipe.test.captions)
    if recipe.test.captions and captions.exists():
        return cleaner_of(CaptionStore.read(captions))
    return recipe.test.cleaner if recipe.test.folder else ""
