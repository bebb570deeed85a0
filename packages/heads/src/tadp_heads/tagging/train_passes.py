"""Cross-validated training of the passes of self-prompting."""

# N images, B of them in a batch, K named classes, C channels, h w cells

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tadp_heads.preprocessing import multiple_of, pad_to_multiple
from tadp_heads.segmentation.head import FPNHead
from tadp_heads.tagging.calibration import Calibration
from tadp_heads.tagging.fit import fold_numbers
from tadp_heads.tagging.mask_evidence import fit_evidence
from tadp_heads.tagging.self_prompting import TASK, Extract, Pass, SelfPrompting, read_mask, texts_of
from tadp_heads.tagging.taggers import Report

Choose = Callable[[Tensor, Tensor], Calibration]
"""Probabilities (N, K), labels (N, K) of 0 and 1 -> the threshold from which classes are named."""


@dataclass(frozen=True, kw_only=True)
class PassSettings:
    """How the passes are trained."""

    passes: int
    folds: int
    """Of the cross-validation, at most one per image."""
    steps: int
    """Of each head."""
    lr: float
    """Peak learning rate of the heads."""
    batch_size: int
    seed: int


def train_self_prompting(
    images: Tensor,
    targets: Tensor,
    captions: Sequence[str],
    present: Tensor,
    *,
    names: tuple[str, ...],
    labels: tuple[int, ...],
    build_head: Callable[[], nn.Module],
    extract: Extract,
    choose: Choose,
    settings: PassSettings,
    report: Report = lambda *_: None,
) -> tuple[SelfPrompting, Tensor]:
    """(tagger trained on all images, out-of-fold probabilities of the last pass (N, K)).

    `images` (N, 3, H, W) in the backbone's range, `targets` (N, H, W) class ids, `captions` one each, `present` (N, K)
    of 0 and 1 for the classes `names`, whose ids are `labels`. All of it is held in memory, features in float16.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} training image: self-prompting is fitted by cross-validation; label more")
    texts, found = list(captions), present
    done: list[Pass] = []
    for number in range(settings.passes):
        cached = _Cached(images, targets, texts, extract, multiple_of(build_head()), settings.batch_size)
        one, found = _train_pass(cached, present, labels, build_head, choose, settings)
        done.append(one)
        texts = texts_of(names, found, one.threshold)
        report("self-prompting", number + 1, settings.passes)
    return SelfPrompting(names, labels, tuple(done)), found


class _Cached:
    """The features of a pass, computed once and kept in float16 on the CPU."""

    def __init__(
        self,
        images: Tensor,
        targets: Tensor,
        texts: Sequence[str],
        extract: Extract,
        multiple: int,
        batch_size: int,
    ):
        self.images, self.targets, self.batch_size = images, targets, batch_size
        parts: list[list[Tensor]] = []
        with torch.no_grad():
            for start in range(0, len(images), batch_size):
                rows = slice(start, start + batch_size)
                levels = extract(pad_to_multiple(images[rows], multiple), texts[rows])
                parts.append([level.half().cpu() for level in levels])
        self.levels = [torch.cat(level) for level in zip(*parts, strict=True)]

    def features(self, rows: Tensor) -> tuple[Tensor, ...]:
        """(B, C, h, w) each, finest first."""
        return tuple(level[rows].float().to(self.images.device) for level in self.levels)

    def evidence(self, head: FPNHead, rows: Tensor, labels: Sequence[int]) -> Tensor:
        """Evidence (B, K, 2) of the masks of these images, see `evidence_of`."""
        parts = []
        with torch.no_grad():
            for some in rows.split(self.batch_size):
                features = self.features(some)
                parts.append(read_mask(head, self.images[some], (), lambda *_, levels=features: levels, labels))
        return torch.cat(parts)


def _train_pass(
    cached: _Cached,
    present: Tensor,
    labels: Sequence[int],
    build_head: Callable[[], nn.Module],
    choose: Choose,
    settings: PassSettings,
) -> tuple[Pass, Tensor]:
    """(the pass trained on all images, its out-of-fold probabilities (N, K))."""
    count = len(present)
    folds = min(settings.folds, count)
    fold_of = fold_numbers(count, folds, settings.seed)
    evidence = torch.empty(*present.shape, 2)
    for fold in range(folds):
        outside = (fold_of == fold).nonzero().flatten()
        head = _trained_head(cached, (fold_of != fold).nonzero().flatten(), build_head, settings, fold)
        evidence[outside] = cached.evidence(head, outside, labels)
    # A few numbers per class, fitted to evidence of masks that were predicted without the image.
    regression = fit_evidence(evidence, present)
    found = regression(evidence).sigmoid().detach()
    head = _trained_head(cached, torch.arange(count), build_head, settings, folds)
    return Pass(head, regression, choose(found, present).threshold), found


def _trained_head(
    cached: _Cached, rows: Tensor, build_head: Callable[[], nn.Module], settings: PassSettings, number: int
) -> FPNHead:
    """Trained on these images by the task's own loss."""
    device = cached.images.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed * 1_000 + number)
        head = build_head().to(device).train()
        if not isinstance(head, FPNHead):
            raise ValueError(
                f"self-prompting trains heads of the class FPNHead, not {type(head).__name__}: leave it out"
            )
        optimizer = torch.optim.AdamW(head.parameters(), lr=settings.lr)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, settings.steps)
        for _ in range(settings.steps):
            some = rows[torch.randint(len(rows), (settings.batch_size,))]
            targets = list(cached.targets[some].to(device))
            size = (targets[0].shape[-2], targets[0].shape[-1])
            loss = TASK.loss(head, cached.features(some), targets, size)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return head.eval()
