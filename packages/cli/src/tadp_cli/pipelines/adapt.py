"""The cross-domain workflow on a user's own data (paper 4.3): labels in one domain, images of another."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tadp_backbone.io.hub import locate
from tadp_backbone.latent_memory import encoding_once
from tadp_captioning import CleaningLimits
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN
from tadp_cli.config.default_models import naming_tiny
from tadp_cli.config.paths import absolute
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.experiments.compare import rows_of_runs
from tadp_cli.inputs.domain_images import target_images
from tadp_cli.inputs.prepare import LEARNED, domain_settings, with_captions, with_domain
from tadp_cli.inputs.unlabelled_target import check_self_training, write_list
from tadp_cli.pipelines.predict import Predicted, PredictOptions, predict_images
from tadp_cli.pipelines.report import ReportOptions, write_run_report
from tadp_cli.pipelines.train_and_evaluate import ensure_experiment, evaluate_once
from tadp_cli.precision import AUTO, Speed, with_precision
from tadp_cli.run.finished import ADAPTATION_FILE, AFTER, BEFORE, runs_of
from tadp_cli.run.guard import claim
from tadp_cli.run.lock import run_lock
from tadp_cli.run.records import read_object
from tadp_cli.run.run import RESULTS_FILE, Run
from tadp_heads.atomic_files import write_json
from tadp_heads.data.readers.user_folder import annotated_tasks
from tadp_heads.data.registry import labelled_splits

PREDICTIONS_FOLDER = "predictions"
SELF_TRAINING_FILE = "self_training_images.txt"
"""The target's images that are trained on without labels, one path per line."""
_EVALUATED_FIRST = ("test", "val")
"""Of several splits with labels, the first of these is evaluated."""


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What `adapt` made."""

    run: Path
    results: dict[str, Any]
    predicted: Predicted | None
    """Predictions for a target that has no labels; None: it was evaluated."""
    before: dict[str, Any] | None = None
    """Results of the run that does not know the domain; None: there is none to compare with."""
    report: Path | None = None
    """The page that shows the target before and after; None: there is nothing to compare."""


def evaluated_split(target: str, task: str, asked: str) -> tuple[str, str]:
    """(split of the target to evaluate, "" where it can only be predicted; why), of `asked` or of what is there."""
    if asked:
        return asked, "named by --split"
    splits = labelled_splits(target, task)
    if len(splits) == 1:
        return splits[0], "its only split with labels"
    if splits:
        chosen = next((name for name in _EVALUATED_FIRST if name in splits), None)
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
    baseline: bool = False,
    self_train: bool = False,
) -> Adapted:
    """Caption, clean, learn the domain, train on the source; then evaluate on the target, or predict it without labels.

    `recipe` names the source as data.folder, the target's split as test.split and its domain as prompt.domain. Each
    stage is left alone where it is done; a folder begun with other settings is refused. `baseline`: train on the same
    captions without the domain too, and compare both on a target with labels. `self_train`: train on the target's
    unlabelled images too, those that its domain is learned from. `speed`: how the trained model computes.
    """
    recipe = recipe.with_backbone
    rank = recipe.personalize.rank
    learned = domain_settings(out, recipe.prompt.target, modifier, rank) if modifier in LEARNED else {}
    changes = {"prompt.modifier": modifier, "test.folder": target if labelled else ""}
    own, recipe = recipe.backbone, recipe.replace(**changes, **learned)
    recipe = with_precision(recipe, out / AFTER, device)
    images = None
    if self_train:
        recipe = recipe.replace(**{"self_training.images": absolute(str(out / SELF_TRAINING_FILE))})
        check_self_training(recipe)
    if learned or self_train:  # what cannot be learned is an error before anything is captioned
        evaluated = recipe.test.split if labelled else ""
        images = target_images(target, recipe.task, evaluated, recipe.personalize.split)
    with naming_tiny(recipe.backbone.source, "--set backbone.source=tiny"):
        locate(recipe.backbone.source)  # before hours of captioning
    with run_lock(out), encoding_once():  # both models and the page pass the same images through the same VAE
        folders = [absolute(recipe.data.folder), absolute(target)]
        fixed = asdict(recipe.replace(plugins={}))  # the run itself reports changed plugins
        settings = {"recipe": fixed, "target": target, "folders": folders}
        claim(out / ADAPTATION_FILE, settings, "an adaptation", {"recipe": asdict(Recipe()), "folders": folders})
        recipe = with_captions(recipe, out, device, report, limits)
        if self_train and images is not None:
            write_list(out / SELF_TRAINING_FILE, images)
        if learned:
            recipe = with_domain(recipe, out, images, None, device, report)
        run, before = out / AFTER, None
        how = {"device": device, "report": report, "limits": limits, "speed": speed}
        if labelled and baseline and (modifier != "null" or self_train):
            unaware = {
                "self_training.images": "",
                "prompt.modifier": "null",
                "prompt.token": "",
                "prompt.token_file": "",
            }
            unaware |= {"backbone.unet": own.unet, "backbone.lora": own.lora}
            before = ensure_experiment(recipe.replace(**unaware), out / BEFORE, **how)
        results = ensure_experiment(recipe, run, **how)
        page = compare_on_target(out, recipe, device, report) if before else None
        predicted = None
        if not labelled:
            folder, options = out / PREDICTIONS_FOLDER, PredictOptions(limits=limits, speed=speed)
            predicted = predict_images(run, [target], folder, options, device=device, report=report)
    return Adapted(run=run, results=results, predicted=predicted, before=before, report=page)


def compare_on_target(out: Path, recipe: Recipe, device: str, report: Report) -> Path:
    """results.json with the target's metrics before and after adaptation, and the page that shows both on its images.

    Both files are left alone where the metrics are those that they have.
    """
    runs, page = runs_of(out), out / "report.html"
    recipes = {run: Run(run).recipe for run in runs}
    metrics = {run.name: evaluate_once(run, recipes[run], "", device=device, report=report) for run in runs}
    result: dict[str, Any] = {"task": recipe.task, "domain": recipe.prompt.domain, "modifier": recipe.prompt.modifier}
    result |= {"data": absolute(recipe.test.folder), "split": recipe.test.split}
    result |= {"before": metrics[BEFORE], "after": metrics[AFTER]}
    if not (page.is_file() and (out / RESULTS_FILE).is_file() and read_object(out / RESULTS_FILE) == result):
        write_run_report(page, recipes, rows_of_runs(runs), ReportOptions(on_target=True, device=device), report)
        write_json(out / RESULTS_FILE, result)
    return page
