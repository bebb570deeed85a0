"""What a pass of training gets: features where a frozen backbone's fit into memory, else images or latents."""

from collections.abc import Generator, Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.padding import pad_to_multiple, padded_size
from tadp_backbone.text.cache import TextCache
from tadp_cli.config.recipe import Recipe, TrainConfig
from tadp_cli.console.reporter import Report
from tadp_cli.prompts.builder import Prompts
from tadp_cli.training.dataset import ImageReader, Item, LatentReader, batches
from tadp_cli.training.sampler import Pick, draw_versions, pick
from tadp_heads.data import SampleDataset
from tadp_heads.data.ranges import RANGES
from tadp_heads.data.sample import Target

# B batch, T tokens, D width of the context, h w cells

CACHE_LIMIT = 2 * 2**30
"""Bytes of features that are kept in memory."""


class Batch(NamedTuple):
    """The images of one pass; of levels, images and latents, one is there.

    With train.consistency each image is there twice, under two prompts: all of them, then all of them again.
    """

    targets: list[Target]
    levels: list[Tensor] | None = None
    """(B, C, h, w) each, finest first, of the padded images."""
    images: Tensor | None = None
    """(B, 3, H, W) as the VAE gets them, padded right and bottom to multiples of the coarsest level's stride."""
    latents: Tensor | None = None
    """(B, 4, h, w) of images padded to the backbone's multiple."""
    size: tuple[int, int] | None = None
    """H, W of the images in pixels, before padding."""
    context: Tensor | None = None
    """(B, T, D); None: the backbone's learnt vectors."""


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
        config, reader = self.recipe.train, self.images if self.latents is None else self.latents
        places = [list(part) for part in positions]
        views = (views_of(config, part, self.prompts.versions) for part in places)
        read = batches(reader, places, config.workers)
        return (self.batch(items, seen) for items, seen in zip(read, views, strict=True))

    def batch(self, items: Sequence[Item], views: Sequence[Sequence[int]] | None = None) -> Batch:
        """On the backbone's device; `views`: for each time that the images are seen, the versions of their prompts;
        None: once, under version 0."""
        views = [[0] * len(items)] if views is None else views
        _check_one_size({item.size for item in items})
        device = self.backbone.unet.device
        pixels = torch.stack([item.pixels for item in items]).to(device).repeat(len(views), 1, 1, 1)
        if self.latents is None:
            images = RANGES[self.recipe.backbone.image_range](pixels)
            # Padded before the backbone, as for prediction: borders look alike in training and inference.
            there = {"images": pad_to_multiple(images, self.backbone.levels[-1].stride)[0]}
        else:
            there = {"latents": pixels}
        ids = [item.id for item in items] * len(views)
        # Learnt vectors are read within the pass, where they are whole if they are spread over processes.
        learnt = self.recipe.prompt.kind == "learnt"
        context = None if learnt else self.prompts.context(self.backbone, ids, self.texts, list(chain(*views)))
        targets = [_to(item.target, device) for item in items] * len(views)
        return Batch(targets, size=items[0].size, context=context, **there)


class CachedFeatures:
    """The features of a frozen backbone, each image's and its mirror image's computed once for each version of its
    prompt, kept in float16."""

    def __init__(self, live: LiveFeatures, progress: Report):
        self.config, self.count = live.recipe.train, len(live.images.dataset)
        batch_size = self.config.batch_size
        self.mirrors = (False, True) if self.config.mirrors else (False,)
        self.versions = live.prompts.versions
        picks = [(index, mirrored) for index in range(self.count) for mirrored in self.mirrors]
        sizes = set()
        self.levels: list[Tensor] = []
        self.targets: list[Target] = []
        for start in range(0, len(picks), batch_size):
            items = [live.images.read(picked) for picked in picks[start : start + batch_size]]
            sizes |= {item.size for item in items}
            _check_one_size(sizes)
            self.size = items[0].size
            for version in range(self.versions):
                batch = live.batch(items, [[version] * len(items)])
                with torch.no_grad():
                    levels = features_of(live.backbone, batch)
                self._keep(levels, slice(start, start + len(items)), version, len(picks))
            self.targets += batch.targets
            progress("features", min(start + batch_size, len(picks)), len(picks))

    def _keep(self, levels: Sequence[Tensor], rows: slice, version: int, count: int) -> None:
        if not self.levels:
            shapes = [(count, self.versions, *level.shape[1:]) for level in levels]
            self.levels = [
                level.new_empty(shape, dtype=torch.half) for level, shape in zip(levels, shapes, strict=True)
            ]
        for kept, level in zip(self.levels, levels, strict=True):
            kept[rows, version] = level

    def batches(self, positions: Iterable[Sequence[int]]) -> Generator[Batch, None, None]:
        """A batch for each list of places in the drawn sequence."""
        for places in positions:
            picks = [pick(self.config, place, self.count) for place in places]
            yield self.batch(picks, views_of(self.config, places, self.versions))

    def batch(self, picks: Sequence[Pick], views: Sequence[Sequence[int]]) -> Batch:
        """From memory."""
        rows = [index * len(self.mirrors) + self.mirrors.index(mirrored) for index, mirrored in picks] * len(views)
        levels = [level[rows, list(chain(*views))].float() for level in self.levels]
        return Batch([self.targets[row] for row in rows], levels=levels, size=self.size)


def views_of(config: TrainConfig, places: Sequence[int], versions: int) -> list[list[int]]:
    """For each time that a pass sees the images at these places, the versions of their prompts, one an image."""
    return [list(view) for view in zip(*(draw_versions(config, place, versions) for place in places), strict=True)]


def is_fixed(trained: Iterable[str], config: TrainConfig) -> bool:
    """Whether an image's features stay as they are: nothing of the backbone trains, and the pixels don't vary."""
    return not config.transform and not any(
        name.startswith(("unet.", "text_adapter.", "learnt_context.")) for name in trained
    )


def features_for(live: LiveFeatures, *, fixed: bool, progress: Report) -> LiveFeatures | CachedFeatures:
    """Cached where they are `fixed` and fit into CACHE_LIMIT."""
    return CachedFeatures(live, progress) if fixed and cached_bytes(live) else live


def cached_bytes(live: LiveFeatures) -> int:
    """Of the features of all images; 0 where they are more than CACHE_LIMIT and aren't kept."""
    backbone, dataset = live.backbone, live.images.dataset
    height, width = padded_size(tuple(dataset[0].image.shape[-2:]), backbone.levels[-1].stride)
    cells = sum(channels * (height // stride) * (width // stride) for channels, stride in backbone.levels)
    needed = 2 * cells * len(dataset) * (2 if live.recipe.train.mirrors else 1) * live.prompts.versions
    return needed if needed <= CACHE_LIMIT else 0


def features_of(backbone: DiffusionBackbone, batch: Batch) -> list[Tensor]:
    """The levels of a batch's padded images; gradients reach the UNet where it trains."""
    if batch.levels is not None:
        return batch.levels
    if batch.latents is not None:
        size = padded_size(batch.size, backbone.levels[-1].stride)
        return list(backbone.extract(batch.latents, batch.context, image_size=size).levels)
    return list(backbone(batch.images, batch.context).levels)


def _check_one_size(sizes: set[tuple[int, int]]) -> None:
    if len(sizes) > 1:
        raise ValueError(
            f"training images of different sizes in one batch, such as {sorted(sizes)[:2]} (height, width): "
            "set train.transform (such as user) and train.size"
        )


def _to(target: Target, device: torch.device) -> Target:
    if isinstance(target, dict):
        return {key: value.to(device) for key, value in target.items()}
    return target.to(device)
