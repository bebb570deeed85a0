"""The model of a run, as the options of a prediction ask for it."""

import hashlib
from dataclasses import replace
from pathlib import Path

from tadp_cli.config.recipe import Recipe
from tadp_cli.pipelines.loading import loaded_model
from tadp_cli.pipelines.prediction_files import save_png, write_classes
from tadp_cli.prediction.options import PredictOptions
from tadp_cli.prompts.authors import check_author
from tadp_cli.run.run import Run
from tadp_heads import PerceptionModel
from tadp_heads.overlay import draw_legend
from tadp_heads.pretrained import WEIGHTS_NAME

LEGEND_FILE = "legend.png"


def configured_model(run: Path, recipe: Recipe, options: PredictOptions, device: str, images: int) -> PerceptionModel:
    """The run's model with the options in its config, if they go together."""
    model = loaded_model(run, options.speed, device, images=images)
    model.config = replace(model.config, protocol=options.protocol or model.config.protocol)
    if options.names is not None:
        return model
    if takes_captions(model, recipe):
        if options.caption is None and options.captions is None and not options.captioner:
            check_captioned(run, recipe, "give the text with --caption or --captions, or name a --captioner")
    elif options.caption is not None or options.captions is not None or options.captioner:
        raise ValueError(f"{run} was trained without captions: leave --caption, --captions and --captioner out")
    return model


def write_legend(model: PerceptionModel, out: Path) -> None:
    """legend.png and classes.json, of a model that has classes."""
    if model.config.classes:
        save_png(draw_legend(model.config.classes, model.config.palette), out / LEGEND_FILE)
        write_classes(model.config.classes, model.config.palette, out)


def check_captioned(run: Path, recipe: Recipe, fix: str) -> None:
    """Raise unless the run can caption images itself."""
    if not recipe.needs_captions:
        raise ValueError(f"{run} was trained with the prompt {recipe.prompt.kind!r}: {fix}")
    check_author(recipe, run, fix)


def class_names(run: Path, model: PerceptionModel) -> list[str]:
    """The model's classes as the run's prompts name them."""
    known = Run(run).prompt_names(model.config.classes)
    return [known[name] for name in model.config.classes]


def takes_captions(model: PerceptionModel, recipe: Recipe) -> bool:
    """Whether each image needs a text, for its prompt or for the image tagger that makes it."""
    if recipe.needs_presence:
        return recipe.needs_captions
    return model.config.needs_caption and model.context is None


def weights_digest(run: Path) -> str:
    """Of the run's head: a run that was retrained in the same folder predicts otherwise."""
    with (run / WEIGHTS_NAME).open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()[:16]
