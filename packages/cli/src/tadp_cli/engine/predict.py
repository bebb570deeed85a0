"""`tadp predict --engine ray`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import quiet
from tadp_cli.engine.options import BATCHES_PER_PART, Engine
from tadp_cli.engine.pool import pooled
from tadp_cli.labelling.texts import GivenTexts
from tadp_cli.plugins import load_plugins, plugin_files
from tadp_cli.prediction.options import PredictOptions
from tadp_cli.prediction.predictor import PredictedPart, Predictor


def predict_with_actors(
    run: Path,
    recipe: Recipe,
    captions: Path,
    options: PredictOptions,
    files: Mapping[str, Any],
    given: GivenTexts | None,
    device: str,
    engine: Engine,
) -> Iterator[PredictedPart]:
    """As `Predictor.predict`, with a predictor in each actor, which writes the files of its images itself."""
    size, left = BATCHES_PER_PART * options.batch_size, iter(files.items())
    parts = []
    while part := dict(islice(left, size)):
        parts.append((part, None if given is None else given.part(part)))
    make = partial(_worker, plugin_files(), run, recipe, captions, options, device, len(files))
    return pooled(make, parts, engine, device=device)


def _worker(
    plugins: Sequence[Path],
    run: Path,
    recipe: Recipe,
    captions: Path,
    options: PredictOptions,
    device: str,
    images: int,
) -> Callable[[Any], PredictedPart]:
    """In an actor: from images and their texts to what became of them."""
    load_plugins(plugins)
    predictor = Predictor.load(run, recipe, captions, options, device, images)

    def work(part: tuple[Mapping[str, Any], GivenTexts | None]) -> PredictedPart:
        whole = PredictedPart()
        for one in predictor.predict(*part, quiet):
            whole.records += one.records
            whole.failed |= one.failed
        return whole

    return work
