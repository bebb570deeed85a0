"""The cross-domain workflow on a user's own data (paper 4.3): labels in one domain, pictures of another."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tadp_cli.recipes.recipe import Recipe
from tadp_cli.workflows.claims import claim
from tadp_cli.workflows.experiment import run_experiment
from tadp_cli.workflows.predicting import Predicted, PredictOptions, predict_images
from tadp_cli.workflows.preparing import LEARNT, look_settings, with_captions, with_look
from tadp_cli.workflows.reporting import Report
from tadp_heads.data.registry import split_name

RUN_FOLDER = "run"
PREDICTIONS_FOLDER = "predictions"


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What `adapt` made."""

    run: Path
    results: dict[str, Any]
    predicted: Predicted | None
    """Predictions for a target that has no labels; None: it was scored."""


def adapt(
    recipe: Recipe, modifier: str, target: str, *, labelled: bool, out: Path, device: str, report: Report
) -> Adapted:
    """Caption, clean, learn the look, train on the source; then score on the target, or predict it without labels.

    `recipe` names the source as data.folder, the target's split as test.split and its look as prompt.domain. Each
    stage is left alone where it is done; a folder begun with other settings is refused.
    """
    look = look_settings(out, recipe.prompt.domain, modifier) if modifier in LEARNT else {}
    changes = {"prompt.modifier": modifier, "test.folder": target if labelled else ""}
    recipe = recipe.replace(**changes, **look)
    claim(out / "adapt.json", {"recipe": asdict(recipe), "target": target}, "an adaptation")
    recipe = with_captions(recipe, out, device, report)
    if look:
        recipe = with_look(recipe, out, Path(split_name(target)[1]), None, device, report)
    run = out / RUN_FOLDER
    begun = (run / "config.toml").is_file()
    results = run_experiment(recipe, run, device=device, resume=begun, report=report)
    predicted = None
    if not labelled:
        folder = out / PREDICTIONS_FOLDER
        predicted = predict_images(run, [target], folder, PredictOptions(), device=device, report=report)
    return Adapted(run=run, results=results, predicted=predicted)
