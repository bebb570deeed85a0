"""The functions of `import tadp`: each does what the command of its name does, and returns what that prints.

`device` is a torch device, "auto" the first GPU or else the CPU. `report(what, done, total)` is called with progress.
Wrong input is a ValueError of one line.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tadp_captioning import CaptionStore, caption_images, load_captioner
from tadp_cli.config.default_models import default_backbone, default_captioner
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.console.reporter import Report, quiet
from tadp_cli.device import checked_device
from tadp_cli.inputs.domain_images import domain_images
from tadp_cli.inputs.preflight_checks import check_classes
from tadp_cli.inputs.user_images import find_user_images
from tadp_cli.pipelines import adapt as adaptation
from tadp_cli.pipelines import explain as explanation
from tadp_cli.pipelines import personalize as personalization
from tadp_cli.pipelines.adapt import Adapted
from tadp_cli.pipelines.evaluate import evaluate_run
from tadp_cli.pipelines.explain import Explained, ExplainOptions
from tadp_cli.pipelines.predict import Predicted, PredictOptions, predict_images
from tadp_cli.pipelines.train_and_evaluate import run_experiment
from tadp_cli.run.lock import run_lock
from tadp_cli.run.run import Run
from tadp_personalize import Personalization

Place = str | Path


def train(
    recipe: Recipe | Place, out: Place, *, device: str = "auto", resume: bool = False, report: Report = quiet
) -> Run:
    """Train a recipe, or one by its name or TOML file, and evaluate it on its validation split and test data."""
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    run_experiment(recipe, Path(out), device=checked_device(device), resume=resume, report=report)
    return Run(out)


def evaluate(
    run: Run | Place, *, data: Place = "", split: str = "", device: str = "auto", report: Report = quiet, **how: Any
) -> dict[str, float]:
    """Metrics of a run on a split of its own data or of a data set with the same classes, kept in its results.json.

    `how`: `protocol`, and fields of `EvaluateOptions`.
    """
    folder = Run(run).folder
    where = {"folder": str(data) or None, "split": split}
    return evaluate_run(folder, **where, **how, device=checked_device(device), report=report)["metrics"]


def predict(
    run: Run | Place, images: Sequence[Place], out: Place, *, device: str = "auto", report: Report = quiet, **how: Any
) -> Predicted:
    """Write the predictions for files, folders and globs of images; `how` are fields of `PredictOptions`."""
    given, options = [str(image) for image in images], PredictOptions(**how)
    return predict_images(Run(run).folder, given, Path(out), options, device=checked_device(device), report=report)


def explain(
    image: Place, out: Place, *, run: Run | Place | None = None, device: str = "auto", **how: Any
) -> list[Explained]:
    """Write one heat map per word of a text over the image; `how` are fields of `ExplainOptions`."""
    options = ExplainOptions(run=None if run is None else Run(run).folder, **how)
    return explanation.explain_image(Path(image), Path(out), options, device=checked_device(device))


def caption(
    images: Place | Sequence[Place], out: Place, *, captioner: str = "", device: str = "auto", **how: Any
) -> CaptionStore:
    """Caption files, folders and globs of images into a file that resumes; `how` are options of `load_captioner`.

    `captioner`: "" for the default of these images, as of `tadp caption`.
    """
    given = [images] if isinstance(images, str | Path) else images
    store = CaptionStore.open(Path(out))
    writer = load_captioner(captioner or default_captioner(given), device=checked_device(device), **how)
    caption_images(writer, find_user_images([str(image) for image in given]), store)
    return store


def personalize(
    domain: str,
    out: Place,
    *,
    images: Place | None = None,
    split: str = "",
    method: str = "textual-inversion",
    backbone: str = "",
    device: str = "auto",
    seed: int = 0,
    count: int = 0,
    resume: bool = False,
    report: Report = quiet,
    **how: Any,
) -> Personalization:
    """Learn a token for a domain from its images, of Scenes where none are given.

    `images`: a folder, or NAME:FOLDER of a data set. `backbone`: "" for the default of the images. `how`: preset_name,
    steps, vectors, rank, as `settings` has them.
    """
    backbone = backbone or default_backbone(() if images is None else (images,))
    with run_lock(Path(out)):
        return personalization.learn(
            domain=domain,
            images=None if images is None else domain_images(str(images), split),
            held_out=None,
            count=count or (10 if images is None else 0),
            method=method,
            config=personalization.settings(method, backbone, **how),
            backbone=backbone,
            out=Path(out),
            resume=resume,
            device=checked_device(device),
            seed=seed,
            progress=lambda step, total, _: report(method, step, total),
        )


def adapt(
    recipe: Recipe | Place,
    source: Place,
    target: Place,
    out: Place,
    *,
    domain: str,
    modifier: str = "textual-inversion",
    split: str = "",
    baseline: bool = False,
    device: str = "auto",
    report: Report = quiet,
) -> Adapted:
    """Caption both domains, learn the target's, train on the source's labels, evaluate or predict the target.

    `baseline`: train without the domain too, and compare both on a target with labels.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    changes = {"data.folder": str(source), "prompt.domain": domain, "prompt.kind": "caption"}
    split, _ = adaptation.evaluated_split(str(target), recipe.task, split)
    recipe = recipe.replace(**changes, **{"test.split": split})
    if split:
        check_classes(recipe, str(target), split)
    place, labelled = checked_device(device), bool(split)
    how: dict[str, Any] = {"labelled": labelled, "baseline": baseline, "device": place, "report": report}
    return adaptation.adapt(recipe, modifier, str(target), out=Path(out), **how)
