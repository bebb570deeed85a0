"""An image tagger learned out of fold from the labels of the source.

A tagger is surer of images that it was trained on than it will ever be again. So the training images are dealt into
folds, and each is tagged by one that saw the other folds alone: prompts are then as imperfect in training as in use,
and the threshold is chosen on what the tagger has not seen.
"""

# N images, K classes

import logging
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from tadp_backbone import DiffusionBackbone
from tadp_cli.config.recipe import PresenceConfig, Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.prompts.builder import object_names, present_classes
from tadp_cli.prompts.kind import Captions
from tadp_cli.prompts.tagging.store import FittedTagger, is_kept, make_tagger, read_tagger
from tadp_cli.prompts.tagging.taggers import FirstPass, Untrained, images_in_batches, tagged
from tadp_cli.prompts.tagging.tags import Presence
from tadp_heads.data import SampleDataset
from tadp_heads.tagging import PresenceHead, calibrate

log = logging.getLogger(__name__)

_BATCH = 64


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
    present = _labels(dataset, names)
    tagger = make_tagger(recipe, backbone, names, device)
    if isinstance(tagger, Untrained):
        found = tagged(tagger, 0.0, images_in_batches(dataset, captions), report, len(dataset)).of(dataset.ids)
    else:
        tagger.head, found = _read_off(tagger, section, dataset, captions, present, report)
    chosen = calibrate(found, present, section.precision)
    log.info(
        "presence: threshold %.3f, out of fold precision %.3f and recall %.3f over %d images", *chosen, len(dataset)
    )
    rows = dict(zip(dataset.ids, found, strict=True))
    fitted = FittedTagger(tagger, chosen, Presence(names, rows, chosen.threshold))
    fitted.save(out, recipe)
    return fitted


def _read_off(
    tagger: FirstPass,
    section: PresenceConfig,
    dataset: SampleDataset,
    captions: Captions | None,
    present: Tensor,
    report: Report,
) -> tuple[PresenceHead, Tensor]:
    """(head trained on all images, what it says of each out of fold (N, K)), from the labels (N, K)."""
    count = len(dataset)
    if count < 2:
        raise ValueError(f"{count} training image: an image tagger learns from some and tags others; label more")
    pooled, mentioned = _inputs(tagger, dataset, captions, report)
    levels, device = tagger.levels, tagger.backbone.unet.device

    def fit(rows: Tensor, number: int) -> PresenceHead:
        # Of the device in use alone: left to itself it warns where there are several.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(section.seed * 1_000 + number)
            head = PresenceHead(levels, present.shape[1]).to(device)
            return _fit(head, pooled[rows], mentioned[rows], present[rows], section.steps, section.lr)

    folds = min(section.folds, count)
    fold_of = torch.randperm(count, generator=torch.Generator().manual_seed(section.seed)) % folds
    found = torch.empty_like(present)
    for fold in range(folds):
        outside = fold_of == fold
        head = fit((~outside).nonzero().flatten(), fold)
        with torch.no_grad():
            found[outside] = _logits(head, pooled[outside], mentioned[outside]).sigmoid()
        report("presence folds", fold + 1, folds)
    return fit(torch.arange(count), folds), found


def _inputs(
    tagger: FirstPass, dataset: SampleDataset, captions: Captions | None, report: Report
) -> tuple[Tensor, Tensor]:
    """What the head reads of all images: pooled features (N, P) and mentions (N, K)."""
    parts: list[tuple[Tensor, Tensor]] = []
    done = 0
    for ids, images, texts in images_in_batches(dataset, captions):
        parts.append((tagger.pooled(images, texts).cpu(), tagger.mentioned(texts)))
        done += len(ids)
        report("presence", done, len(dataset))
    pooled, mentioned = zip(*parts, strict=True)
    return torch.cat(pooled), torch.cat(mentioned)


def _fit(head: PresenceHead, pooled: Tensor, mentioned: Tensor, truth: Tensor, steps: int, rate: float) -> PresenceHead:
    """The head, trained on these rows."""
    head.train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for _ in range(steps):
        rows = torch.randint(len(truth), (_BATCH,))
        logits = _logits(head, pooled[rows], mentioned[rows])
        loss = functional.binary_cross_entropy_with_logits(logits, truth[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def _logits(head: PresenceHead, pooled: Tensor, mentioned: Tensor) -> Tensor:
    """(B, K) on the CPU."""
    device = head.weight.device
    return head.from_pooled(pooled.to(device), mentioned.to(device)).cpu()


def _labels(dataset: SampleDataset, names: tuple[str, ...]) -> Tensor:
    """(N, K): 1 where an image's annotation has the class."""
    present = present_classes(dataset)
    return torch.tensor([[float(name in present[image_id]) for name in names] for image_id in dataset.ids])
