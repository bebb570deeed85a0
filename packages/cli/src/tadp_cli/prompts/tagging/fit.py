"""The image tagger of a run: learned once from the training images, calibrated and kept."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_cli.config.recipe import PresenceConfig, Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.prompts.tagging.store import FittedTagger, is_kept, make_tagger, read_tagger
from tadp_heads.data import SampleDataset
from tadp_heads.data.class_names import object_names
from tadp_heads.tagging import Calibration, PassSettings, calibrate, conformal_threshold
from tadp_heads.tagging.fit import fit_out_of_fold, labels_of, read_inputs
from tadp_heads.tagging.own_mask import OwnMask
from tadp_heads.tagging.presence import Presence
from tadp_heads.tagging.taggers import Captions, Untrained, images_in_batches, tagged
from tadp_heads.tasks import get_task

log = logging.getLogger(__name__)


def fit_tagger(
    recipe: Recipe,
    dataset: SampleDataset,
    backbone: DiffusionBackbone,
    captions: Captions | None,
    out: Path,
    device: str,
    report: Report,
) -> FittedTagger:
    """From the training images and their labels; kept in `out`, and read from there where it was learned before."""
    section, names = recipe.presence, object_names(dataset.prompt_names)
    kept = read_tagger(out, recipe, backbone, device) if is_kept(out, recipe, names, dataset.ids) else None
    if kept is not None:
        return kept
    present = labels_of(dataset, names)
    tagger = make_tagger(recipe, backbone, names, device)
    if isinstance(tagger, Untrained):
        found = tagged(tagger, 0.0, images_in_batches(dataset, captions), report, len(dataset)).of(dataset.ids)
    elif isinstance(tagger, OwnMask):
        settings = PassSettings(
            passes=section.passes,
            folds=section.folds,
            steps=section.steps,
            seed=section.seed,
            lr=recipe.train.lr,
            batch_size=recipe.train.batch_size,
        )
        build = partial(get_task(recipe.task).build_head, **recipe.head)
        choose = partial(_choose, section)
        how: dict[str, Any] = {"build_head": build, "choose": choose, "settings": settings, "report": report}
        found = tagger.train(dataset, captions, present, **how)
    else:
        tagger.head, found = fit_out_of_fold(
            tagger.levels,
            read_inputs(tagger, dataset, captions, report),
            present,
            folds=section.folds,
            steps=section.steps,
            lr=section.lr,
            seed=section.seed,
            device=backbone.unet.device,
            report=report,
        )
    chosen = _choose(section, found, present)
    log.info(
        "presence: threshold %.3f, out of fold precision %.3f and recall %.3f over %d images", *chosen, len(dataset)
    )
    rows = dict(zip(dataset.ids, found, strict=True))
    fitted = FittedTagger(tagger, chosen, Presence(names, rows, chosen.threshold))
    fitted.save(out, recipe)
    return fitted


def _choose(section: PresenceConfig, found: Tensor, present: Tensor) -> Calibration:
    """The threshold, from what was found out of fold (N, K) and the labels (N, K)."""
    if section.recall:
        return conformal_threshold(found, present, recall=section.recall, confidence=section.confidence)
    return calibrate(found, present, section.precision)
