"""A presence judge learnt out of fold from the labels of the source.

A judge is surer of images that it was trained on than it will ever be again. So the training images are dealt into
folds, and each is judged by one that saw the other folds alone: prompts are then as imperfect in training as in use,
and the threshold is chosen on what the judge has not seen.
"""

# N images, K classes

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from tadp_backbone import DiffusionBackbone
from tadp_cli.config.recipe import PresenceConfig, Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.prompts.builder import object_names, present_classes
from tadp_cli.prompts.tagging.store import LearntPresence, is_kept, make_judge, read_presence
from tadp_cli.prompts.tagging.taggers import FirstPass, Latents, Untrained, images_in_batches, judged
from tadp_cli.prompts.tagging.tags import Presence
from tadp_heads.data import SampleDataset
from tadp_heads.tagging import LatentPresence, PresenceHead, calibrate

log = logging.getLogger(__name__)

_BATCH = 64
_Inputs = tuple[Tensor, ...]


def learn_presence(
    recipe: Recipe,
    dataset: SampleDataset,
    backbone: DiffusionBackbone,
    captions: Mapping[str, str] | None,
    out: Path,
    device: str,
    report: Report,
) -> LearntPresence:
    """From the training images and their labels; kept in `out`, and read from there where it was learnt before."""
    section, names = recipe.presence, object_names(dataset.prompt_names)
    if is_kept(out, recipe, names, dataset.ids):
        return read_presence(out, recipe, backbone, device)
    present = _labels(dataset, names)
    judge = make_judge(recipe, backbone, names, device)
    if isinstance(judge, Untrained):
        found = judged(judge, 0.0, images_in_batches(dataset, captions), report, len(dataset)).of(dataset.ids)
    elif isinstance(judge, Latents):
        teacher = make_judge(recipe.replace(**{"presence.single_pass": False}), backbone, names, device)
        _, taught = _read_off(teacher, section, dataset, captions, present, present, report)
        judge.net, found = _read_off(judge, section, dataset, captions, taught, present, report)
    else:
        judge.head, found = _read_off(judge, section, dataset, captions, present, present, report)
    chosen = calibrate(found, present, section.precision)
    log.info(
        "presence: threshold %.3f, out of fold precision %.3f and recall %.3f over %d images", *chosen, len(dataset)
    )
    rows = dict(zip(dataset.ids, found, strict=True))
    learnt = LearntPresence(judge, chosen, Presence(names, rows, chosen.threshold))
    learnt.save(out, recipe)
    return learnt


def _read_off(
    judge: FirstPass | Latents,
    section: PresenceConfig,
    dataset: SampleDataset,
    captions: Mapping[str, str] | None,
    truth: Tensor,
    present: Tensor,
    report: Report,
) -> tuple[nn.Module, Tensor]:
    """(network trained on all images, what it says of each out of fold (N, K)).

    `truth` (N, K) is what it learns: labels, or a teacher's probabilities.
    """
    count = len(dataset)
    if count < 2:
        raise ValueError(f"{count} training image: a presence judge learns from some and judges others; label more")
    inputs = _inputs(judge, dataset, captions, report)
    make, device = _maker(judge, len(present[0])), judge.backbone.unet.device

    def fit(rows: Tensor, number: int) -> nn.Module:
        seed = section.seed * 1_000 + number
        # Of the device in use alone: left to itself it warns where there are several.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            return _fit(make(), _rows(inputs, rows), truth[rows], section.steps, section.lr)

    folds = min(section.folds, count)
    fold_of = torch.randperm(count, generator=torch.Generator().manual_seed(section.seed)) % folds
    found = torch.empty_like(present)
    for fold in range(folds):
        outside = fold_of == fold
        net = fit((~outside).nonzero().flatten(), fold)
        with torch.no_grad():
            found[outside] = _logits(net, _rows(inputs, outside.nonzero().flatten())).sigmoid()
        report("presence folds", fold + 1, folds)
    return fit(torch.arange(count), folds), found


def _inputs(
    judge: FirstPass | Latents, dataset: SampleDataset, captions: Mapping[str, str] | None, report: Report
) -> _Inputs:
    """What the network reads of all images: pooled features (N, P) and mentions (N, K), or latents (N, 4, h, w)."""
    parts: list[_Inputs] = []
    done = 0
    for ids, images, texts in images_in_batches(dataset, captions):
        if isinstance(judge, FirstPass):
            parts.append((judge.pooled(images, texts).cpu(), judge.mentioned(texts)))
        else:
            parts.append((judge.latents(images).cpu(),))
        done += len(ids)
        report("presence", done, len(dataset))
    shapes = {tuple(part[0].shape[1:]) for part in parts}
    if len(shapes) > 1:
        raise ValueError(
            f"presence.single_pass reads latents of one size, and there are {len(shapes)} such as "
            f"{sorted(shapes)[:2]}: leave it out, or bring images to one size"
        )
    return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))


def _maker(judge: FirstPass | Latents, classes: int) -> Callable[[], nn.Module]:
    if isinstance(judge, FirstPass):
        levels, device = judge.levels, judge.backbone.unet.device
        return lambda: PresenceHead(levels, classes).to(device)
    channels, device = judge.backbone.unet.config.in_channels, judge.backbone.unet.device
    return lambda: LatentPresence(classes, channels=channels).to(device)


def _fit(net: nn.Module, inputs: _Inputs, truth: Tensor, steps: int, rate: float) -> nn.Module:
    """The network, trained on these rows."""
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for _ in range(steps):
        rows = torch.randint(len(truth), (_BATCH,))
        logits = _logits(net, _rows(inputs, rows), mirror=bool(torch.rand(()) < 0.5))
        loss = functional.binary_cross_entropy_with_logits(logits, truth[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval()


def _logits(net: nn.Module, inputs: _Inputs, *, mirror: bool = False) -> Tensor:
    """(B, K) on the CPU."""
    inputs = tuple(part.to(next(net.parameters()).device) for part in inputs)
    if isinstance(net, PresenceHead):
        return net.from_pooled(*inputs).cpu()
    (latents,) = inputs
    return net(latents.flip(3) if mirror else latents).cpu()


def _rows(inputs: _Inputs, rows: Tensor) -> _Inputs:
    return tuple(part[rows] for part in inputs)


def _labels(dataset: SampleDataset, names: tuple[str, ...]) -> Tensor:
    """(N, K): 1 where an image's annotation has the class."""
    present = present_classes(dataset)
    return torch.tensor([[float(name in present[image_id]) for name in names] for image_id in dataset.ids])
