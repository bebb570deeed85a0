"""Features for training: computed once where the backbone is frozen and they fit into memory, else at every step."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import v2

from tadp_backbone import DiffusionBackbone
from tadp_cli.workflows.text import Prompts
from tadp_heads.data import Sample, SampleDataset
from tadp_heads.data.ranges import RANGES
from tadp_heads.data.sample import Target

CACHE_LIMIT = 2 * 2**30
"""Bytes of features that are kept in memory."""


class Batch(NamedTuple):
    features: list[Tensor]  # levels (B, C, h, w), finest first
    targets: list[Target]


Pick = tuple[int, bool]
"""Index of an image in the data set; whether it is mirrored."""


class LiveFeatures:
    """Reads, encodes and extracts at every step; gradients reach the UNet where it trains."""

    def __init__(self, backbone: DiffusionBackbone, dataset: SampleDataset, prompts: Prompts):
        self.backbone, self.dataset, self.prompts = backbone, dataset, prompts

    def batch(self, picks: Sequence[Pick]) -> Batch:
        samples = [self._read(index, mirrored) for index, mirrored in picks]
        sizes = {tuple(sample.image.shape[-2:]) for sample in samples}
        if len(sizes) > 1:
            raise ValueError(
                f"training images of different sizes in one batch, such as {sorted(sizes)[:2]} (height, width): "
                "set train.transform (such as user) and train.size"
            )
        images = RANGES["sd"](torch.stack([sample.image for sample in samples]))
        device = self.backbone.unet.device
        context = self.prompts.context(self.backbone, [sample.id for sample in samples])
        features = self.backbone(images.to(device), context)
        return Batch(list(features.levels), [_to(sample.target, device) for sample in samples])

    def _read(self, index: int, mirrored: bool) -> Sample:
        sample = self.dataset[index]
        if not mirrored:
            return sample
        image, target = v2.functional.horizontal_flip(sample.image), _mirrored(sample.target)
        return Sample(image, target, sample.id)


class CachedFeatures:
    """The features of a frozen backbone, each image's and its mirror image's computed once, kept in float16."""

    def __init__(self, live: LiveFeatures, flip: bool, batch_size: int = 32, progress=None):
        self.mirrors = (False, True) if flip else (False,)
        picks = [(index, mirrored) for index in range(len(live.dataset)) for mirrored in self.mirrors]
        self.levels: list[Tensor] = []
        self.targets: list[Target] = []
        for start in range(0, len(picks), batch_size):
            with torch.no_grad():
                batch = live.batch(picks[start : start + batch_size])
            if not self.levels:
                self.levels = [level.new_empty((len(picks), *level.shape[1:]), dtype=torch.half) for level in batch[0]]
            for kept, level in zip(self.levels, batch.features, strict=True):
                kept[start : start + len(level)] = level
            self.targets += batch.targets
            if progress is not None:
                progress(min(start + batch_size, len(picks)), len(picks))

    def batch(self, picks: Sequence[Pick]) -> Batch:
        rows = [index * len(self.mirrors) + self.mirrors.index(mirrored) for index, mirrored in picks]
        return Batch([level[rows].float() for level in self.levels], [self.targets[row] for row in rows])


def features_for(
    backbone: DiffusionBackbone, dataset: SampleDataset, prompts: Prompts, *, fixed: bool, flip: bool, progress=None
) -> LiveFeatures | CachedFeatures:
    """Cached where they are `fixed` (a frozen backbone, the same pixels at each step) and fit into CACHE_LIMIT."""
    live = LiveFeatures(backbone, dataset, prompts)
    if not fixed:
        return live
    height, width = dataset[0].image.shape[-2:]
    cells = sum(channels * (height // stride) * (width // stride) for channels, stride in backbone.levels)
    bytes_needed = 2 * cells * len(dataset) * (2 if flip else 1)
    return CachedFeatures(live, flip, progress=progress) if bytes_needed <= CACHE_LIMIT else live


def _mirrored(target: Target) -> Target:
    if isinstance(target, dict):
        return {**target, "boxes": v2.functional.horizontal_flip(target["boxes"])}
    return v2.functional.horizontal_flip(target)


def _to(target: Target, device: torch.device) -> Target:
    if isinstance(target, dict):
        return {key: value.to(device) for key, value in target.items()}
    return target.to(device)
