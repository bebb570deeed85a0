"""Self-prompting: predict with the caption, list the classes of the predicted mask, predict again with their names.

Each pass has a segmentation head of its own, trained under the prompts of that pass. Prompts of the training images
are found out of fold, by heads that did not see the image, so that they are as imperfect as at inference.
"""

# B images, K named classes, C channels, h w cells, H W image pixels

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from tadp_heads.atomic_files import write_json
from tadp_heads.pretrained import read_json
from tadp_heads.segmentation.head import FPNHead
from tadp_heads.segmentation.task import SegmentationTask
from tadp_heads.tagging.mask_evidence import MaskEvidence, evidence_of
from tadp_heads.tagging.presence import Presence
from tadp_heads.tasks import Features

Extract = Callable[[Tensor, Sequence[str]], Features]
"""Images (B, 3, H, W) in the backbone's range, a prompt each -> levels (B, C, h, w), finest first."""
TASK = SegmentationTask()
_FILE = "self_prompting.json"


@dataclass(frozen=True)
class Pass:
    """One pass: the head that predicts a mask, and the regression that finds the classes in it."""

    head: FPNHead
    evidence: MaskEvidence
    threshold: float
    """A class is named in the next prompt where its probability is at least this."""


@dataclass(frozen=True)
class SelfPrompting:
    """An image tagger that predicts masks: `probabilities` are those after the last of its passes."""

    names: tuple[str, ...]
    labels: tuple[int, ...]
    """Class id of each name in the masks."""
    passes: tuple[Pass, ...]

    @torch.no_grad()
    def probabilities(self, images: Tensor, texts: Sequence[str], extract: Extract) -> Tensor:
        """Images (B, 3, H, W) in the backbone's range, their captions -> (B, K) in [0, 1], on the CPU."""
        found = torch.empty(0)
        for one in self.passes:
            found = one.evidence(read_mask(one.head, images, texts, extract, self.labels)).sigmoid()
            texts = texts_of(self.names, found, one.threshold)
        return found

    def save_pretrained(self, folder: str | Path) -> None:
        """Write names, labels and thresholds, and each pass's head and regression in folders of their own."""
        folder = Path(folder)
        for number, one in enumerate(self.passes, 1):
            one.head.save_pretrained(folder / f"pass-{number}" / "head")
            one.evidence.save_pretrained(folder / f"pass-{number}" / "evidence")
        thresholds = [one.threshold for one in self.passes]
        write_json(folder / _FILE, {"names": self.names, "labels": self.labels, "thresholds": thresholds})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """What `save_pretrained` wrote, its heads in eval mode."""
        folder = Path(folder)
        known = read_json(folder / _FILE)
        passes = []
        for number, threshold in enumerate(known["thresholds"], 1):
            parts = folder / f"pass-{number}"
            head, evidence = FPNHead.from_pretrained(parts / "head"), MaskEvidence.from_pretrained(parts / "evidence")
            passes.append(Pass(head, evidence, threshold))
        return cls(tuple(known["names"]), tuple(known["labels"]), tuple(passes))

    def to(self, device: str | torch.device) -> Self:
        """Move the heads to the device."""
        for one in self.passes:
            one.head.to(device)
        return self


def texts_of(names: tuple[str, ...], found: Tensor, threshold: float) -> list[str]:
    """The names of the classes of each image whose probability (B, K) is at or above the threshold."""
    presence = Presence(names, {str(row): values for row, values in enumerate(found)}, threshold)
    return [" ".join(presence.named(image_id)) for image_id in presence.probabilities]


def read_mask(head: FPNHead, images: Tensor, texts: Sequence[str], extract: Extract, labels: Sequence[int]) -> Tensor:
    """Evidence (B, K, 2) of the mask that one pass predicts, see `evidence_of`; on the CPU."""
    found = TASK.probabilities(head, lambda window: extract(window, texts), images, "whole")
    return evidence_of(found[:, list(labels)]).cpu()
