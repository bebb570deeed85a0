"""Cross-validated training of a PresenceHead on the labels of the source.

A tagger is overconfident on its own training images. So each of them is tagged out of fold, by a head that was trained
on the other folds: prompts are then as imperfect in training as at inference, and the threshold is calibrated on images
that the tagger has not seen.
"""

# N images, K classes, P pooled features

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from tadp_heads.data import SampleDataset
from tadp_heads.data.present_classes import present_classes
from tadp_heads.tagging.head import PresenceHead
from tadp_heads.tagging.taggers import Captions, FirstPass, Report, images_in_batches

_BATCH = 64


class Inputs(NamedTuple):
    """Inputs of a PresenceHead for N images."""

    pooled: Tensor
    """(N, P) float32, as `pool` gives them."""
    mentioned: Tensor
    """(N, K): 1 where the image's caption names the class."""

    def rows(self, chosen: Tensor) -> "Inputs":
        """Those of the chosen images, by index or mask."""
        return Inputs(self.pooled[chosen], self.mentioned[chosen])


def labels_of(dataset: SampleDataset, names: Sequence[str]) -> Tensor:
    """Labels (N, K), float: 1 where an image's annotation has the class."""
    present = present_classes(dataset)
    return torch.tensor([[float(name in present[image_id]) for name in names] for image_id in dataset.ids])


def read_inputs(tagger: FirstPass, dataset: SampleDataset, captions: Captions | None, report: Report) -> Inputs:
    """Inputs for all images of the data set, by one pass of the backbone per image."""
    parts: list[tuple[Tensor, Tensor]] = []
    done = 0
    for ids, images, texts in images_in_batches(dataset, captions):
        parts.append((tagger.pooled(images, texts).cpu(), tagger.mentioned(texts)))
        done += len(ids)
        report("presence", done, len(dataset))
    pooled, mentioned = zip(*parts, strict=True)
    return Inputs(torch.cat(pooled), torch.cat(mentioned))


def fold_numbers(count: int, folds: int, seed: int) -> Tensor:
    """(N,): the fold of each of `count` images, from 0 to `folds` - 1; sizes of folds differ by at most 1."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)) % folds


def fit_out_of_fold(
    levels: Sequence[Any],
    inputs: Inputs,
    present: Tensor,
    *,
    folds: int,
    steps: int,
    lr: float,
    seed: int,
    device: torch.device,
    report: Report,
) -> tuple[PresenceHead, Tensor]:
    """(head trained on all images, probabilities of each image by a head that did not see it (N, K)).

    `levels`: the feature levels that the head reads. `present` (N, K): labels of 0 and 1. `lr`: peak learning rate.
    ValueError for fewer than two images.
    """
    count = len(present)
    if count < 2:
        raise ValueError(f"{count} training image: an image tagger is fitted by cross-validation; label more")

    def fit(rows: Tensor, number: int) -> PresenceHead:
        # Of the device in use alone: left to itself it warns where there are several.
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed * 1_000 + number)
            head = PresenceHead(levels, present.shape[1]).to(device)
            return _fit(head, inputs.rows(rows), present[rows], steps, lr)

    folds = min(folds, count)
    fold_of = fold_numbers(count, folds, seed)
    found = torch.empty_like(present)
    for fold in range(folds):
        outside = fold_of == fold
        head = fit((~outside).nonzero().flatten(), fold)
        with torch.no_grad():
            found[outside] = _logits(head, inputs.rows(outside)).sigmoid()
        report("presence folds", fold + 1, folds)
    return fit(torch.arange(count), folds), found


def _fit(head: PresenceHead, inputs: Inputs, truth: Tensor, steps: int, rate: float) -> PresenceHead:
    """The head, trained by AdamW with a one-cycle schedule of peak `rate`."""
    head.train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
    for _ in range(steps):
        rows = torch.randint(len(truth), (_BATCH,))
        logits = _logits(head, inputs.rows(rows))
        loss = functional.binary_cross_entropy_with_logits(logits, truth[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


def _logits(head: PresenceHead, inputs: Inputs) -> Tensor:
    """(B, K) on the CPU."""
    device = head.weight.device
    return head.from_pooled(inputs.pooled.to(device), inputs.mentioned.to(device)).cpu()
