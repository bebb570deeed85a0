"""The cross-domain workflow on a user's own data (paper 4.3): labels in one domain, images of another."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tadp_captioning import CleaningLimits
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN
from tadp_cli.config.paths import absolute
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.domain_images import target_images
from tadp_cli.inputs.prepare import LEARNT, domain_settings, with_captions, with_domain
from tadp_cli.pipelines.predict import Predicted, PredictOptions, predict_images
from tadp_cli.pipelines.train_and_score import ensure_experiment
from tadp_cli.precision import AUTO, Speed, with_precision
from tadp_cli.run.guard import claim
from tadp_cli.run.lock import run_lock
from tadp_heads.data.readers.user_folder import annotated_tasks
from tadp_heads.data.registry import labelled_splits

RUN_FOLDER = "run"
PREDICTIONS_FOLDER = "predictions"
_SCORED_FIRST = ("test", "val")
"""Of several splits with labels, the first of these is evaluated."""


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What `adapt` made."""

    run: Path
    results: dict[str, Any]
    predicted: Predicted | None
    """Predictions for a target that has no labels; None: it was evaluated."""


def scored_split(target: str, task: str, asked: str) -> tuple[str, str]:
    """(split of the target to evaluate, "" where it can only be predicted; why), of `asked` or of what is there."""
    if asked:
        return asked, "named by --split"
    splits = labelled_splits(target, task)
    if len(splits) == 1:
        return splits[0], "its only split with labels"
    if splits:
        chosen = next((name for name in _SCORED_FIRST if name in splits), None)
        if chosen is None:
            raise ValueError(f"{target} has labels in the splits {', '.join(splits)}: name one of them with --split")
        return chosen, f"it has labels in {', '.join(splits)}; --split names another"
    if task in annotated_tasks(Path(target)):
        return "", "it has labels, but no split file with an image that has one; write test.txt to have it evaluated"
    return "", f"it has no labels for {task}"


def adapt(
    recipe: Recipe,
    modifier: str,
    target: str,
    *,
    labelled: bool,
    out: Path,
    device: str,
    report: Report,
    limits: CleaningLimits = NO_LIMITS_GIVEN,
    speed: Speed = AUTO,
) -> Adapted:
    """Caption, clean, learn the domain, train on the source; then evaluate on the target, or predict it without labels.

    `recipe` names the source as data.folder, the target's split as test.split and its domain as prompt.domain. Each
    stage is left alone where it is done; a folder begun with other settings is refused. `speed`: how the trained model
    computes.
    """
    rank = recipe.personalize.rank
    look = domain_settings(out, recipe.prompt.target, modifier, rank) if modifier in LEARNT else {}
    changes = {"prompt.modifier": modifier, "test.folder": target if labelled else ""}
    recipe = recipe.replace(**changes, **look)
    recipe = with_precision(recipe, out / RUN_FOLDER, device)
    images = None
    if look:  # what cannot be learned is an error before anything is captioned
        evaluated = recipe.test.split if labelled else ""
        images = target_images(target, recipe.task, evaluated, recipe.personalize.split)
    with run_lock(out):
        folders = {"folders": [absolute(recipe.data.folder), absolute(target)]}
        fixed = asdict(recipe.replace(plugins={}))  # the run itself tells of plugins that changed
        settings, defaults = {"recipe": fixed, "target": target}, {"recipe": asdict(Recipe())}
        settings, defaults = settings | folders, defaults | folders
        claim(out / "adapt.json", settings, "an adaptation", defaults)
        recipe = with_captions(recipe, out, device, report, limits)
        if look:
            recipe = with_domain(recipe, out, images, None, device, report)
        run = out / RUN_FOLDER
        results = ensure_experiment(recipe, run, device=device, report=report, limits=limits, speed=speed)
        predicted = None
        if not labelled:
            folder, options = out / PREDICTIONS_FOLDER, PredictOptions(limits=limits, speed=speed)
            predicted = predict_images(run, [target], folder, options, device=device, report=report)
    return Adapted(run=run, results=results, predicted=predicted)
