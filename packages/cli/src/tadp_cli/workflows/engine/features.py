"""What a pass of training gets: features where a frozen backbone's fit into memory, else images or latents."""

from collections.abc import Generator, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.cache import TextCache
from tadp_cli.recipes.recipe import Recipe
from tadp_cli.workflows.engine.drawing import Pick, pick
from tadp_cli.workflows.engine.reading import ImageReader, Item, LatentReader, batches
from tadp_cli.workflows.reporting import Report
from tadp_cli.workflows.text import Prompts
from tadp_heads.data import SampleDataset
from tadp_heads.data.ranges import RANGES
from tadp_heads.data.sample import Target

# B batch, T tokens, D width of the context, h w cells

CACHE_LIMIT = 2 * 2**30
"""Bytes of features that are kept in memory."""


class Batch(NamedTuple):
    """The images of one pass; of the first three, one is there."""

    targets: list[Target]
    levels: list[Tensor] | None = None
    """(B, C, h, w) each, finest first."""
    images: Tensor | None = None
    """(B, 3, H, W) as the VAE gets them."""
    latents: Tensor | None = None
    """(B, 4, h, w) of images padded to the backbone's multiple."""
    size: tuple[int, int] | None = None
    """H, W of the images in pixels."""
    context: Tensor | None = None
    """(B, T, D)."""


class LiveFeatures:
    """Reads images or their latents for every pass; features are the model's business, gradients may reach the UNet."""

    def __init__(self, recipe: Recipe, backbone: DiffusionBackbone, dataset: SampleDataset, prompts: Prompts):
        self.recipe, self.backbone, self.prompts = recipe, backbone, prompts
        self.images = ImageReader(dataset, recipe)
        self.latents = LatentReader(self.images, backbone) if recipe.train.crops else None
        self.texts = TextCache(recipe.train.cache, backbone) if recipe.train.cache else None

    def fill(self, rank: int, processes: int, progress: Report) -> None:
        """Encode what is to be read encoded; several processes share the work."""
        if self.latents is None:
            return
        mirrors = (False, True) if self.recipe.train.mirrors else (False,)
        picks = [(index, mirrored) for index in range(len(self.images.dataset)) for mirrored in mirrors]
        self.latents.fill(picks[rank::processes], lambda done, total: progress("latents", done, total))

    def batches(self, positions: Iterable[Sequence[int]]) -> Generator[Batch, None, None]:
        """A batch for each list of places in the drawn sequence."""
        reader = self.images if self.latents is None else self.latents
        return (self.batch(items) for items in batches(reader, positions, self.recipe.train.workers))

    def batch(self, items: Sequence[Item]) -> Batch:
        """On the backbone's device."""
        sizes = {item.size for item in items}
        if len(sizes) > 1:
            raise ValueError(
                f"training images of different sizes in one batch, such as {sorted(sizes)[:2]} (height, width): "
                "set train.transform (such as user) and train.size"
            )
        device = self.backbone.unet.device
        pixels = torch.stack([item.pixels for item in items]).to(device)
        if self.latents is None:
            there = {"images": RANGES[self.recipe.backbone.image_range](pixels)}
        else:
            there = {"latents": pixels}
        context = self.prompts.context(self.backbone, [item.id for item in items], self.texts)
        targets = [_to(item.target, device) for item in items]
        return Batch(targets, size=items[0].size, context=context, **there)


class CachedFeatures:
    """The features of a frozen backbone, each image's and its mirror image's computed once, kept in float16."""

    def __init__(self, live: LiveFeatures, progress: Report, batch_size: int = 32):
        self.config, self.count = live.recipe.train, len(live.images.dataset)
        self.mirrors = (False, True) if self.config.mirrors else (False,)
        picks = [(index, mirrored) for index in range(self.count) for mirrored in self.mirrors]
        self.levels: list[Tensor] = []
        self.targets: list[Target] = []
        for start in range(0, len(picks), batch_size):
            batch = live.batch([live.images.read(picked) for picked in picks[start : start + batch_size]])
            with torch.no_grad():
                levels = features_of(live.backbone, batch)
            if not self.levels:
                self.levels = [level.new_empty((len(picks), *level.shape[1:]), dtype=torch.half) for level in levels]
            for kept, level in zip(self.levels, levels, strict=True):
                kept[start : start + len(level)] = level
            self.targets += batch.targets
            progress("features", min(start + batch_size, len(picks)), len(picks))

    def batches(self, positions: Iterable[Sequence[int]]) -> Generator[Batch, None, None]:
        """A batch for each list of places in the drawn sequence."""
        return (self.batch([pick(self.config, place, self.count) for place in places]) for places in positions)

    def batch(self, picks: Sequence[Pick]) -> Batch:
        """From memory."""
        rows = [index * len(self.mirrors) + self.mirrors.index(mirrored) for index, mirrored in picks]
        return Batch([self.targets[row] for row in rows], levels=[level[rows].float() for level in self.levels])


def features_for(live: LiveFeatures, *, fixed: bool, progress: Report) -> LiveFeatures | CachedFeatures:
    """Cached where they are `fixed` (a frozen backbone, the same pixels at each step) and fit into CACHE_LIMIT."""
    if not fixed:
        return live
    backbone, dataset = live.backbone, live.images.dataset
    height, width = dataset[0].image.shape[-2:]
    cells = sum(channels * (height // stride) * (width // stride) for channels, stride in backbone.levels)
    bytes_needed = 2 * cells * len(dataset) * (2 if live.recipe.train.mirrors else 1)
    return CachedFeatures(live, progress) if bytes_needed <= CACHE_LIMIT else live


def features_of(backbone: DiffusionBackbone, batch: Batch) -> list[Tensor]:
    """The levels of a batch; gradients reach the UNet where it trains."""
    if batch.levels is not None:
        return batch.levels
    if batch.latents is not None:
        return list(backbone.extract(batch.latents, batch.context, image_size=batch.size).levels)
    return list(backbone(batch.images, batch.context).levels)


def _to(target: Target, device: torch.device) -> Target:
    if isinstance(target, dict):
        return {key: value.to(device) for key, value in target.items()}
    return target.to(device)
