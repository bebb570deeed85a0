"""What a micro-batch contains: features where a frozen backbone's fit into memory, else images or latents."""

# B batch, T tokens, D width of the context, H W image pixels, h w cells

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from tadp_heads.data import SampleDataset
from tadp_heads.data.ranges import RANGES
from tadp_heads.data.sample import Target
from tadp_heads.model import PerceptionModel
from tadp_heads.padding import pad_to_multiple, padded_size
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.dataset import Item, TrainingImages, batches
from tadp_heads.training.parallel.data_parallel import Share
from tadp_heads.training.protocols import Backbone, Contexts, LatentPool, Report, needed
from tadp_heads.training.sampler import Pick, Positions, all_picks, draw_version, pick

CACHE_LIMIT = 2 * 2**30
"""Bytes of features that are kept in memory."""


class Batch(NamedTuple):
    """The images of one micro-batch; of levels, images and latents, one is there."""

    targets: list[Target]
    levels: list[Tensor] | None = None
    """(B, C, h, w) each, finest first, of the padded images."""
    images: Tensor | None = None
    """(B, 3, H, W) in the model's range, padded right and bottom to multiples of the coarsest level's stride."""
    latents: Tensor | None = None
    """(B, 4, h, w) of images padded to the backbone's multiple."""
    size: tuple[int, int] | None = None
    """H, W of the images in pixels, before padding."""
    padded_size: tuple[int, int] | None = None
    """H, W of the images in pixels that the features cover."""
    context: Tensor | None = None
    """(B, T, D); None: the backbone's own."""


class LiveFeatures:
    """Images or their latents for every micro-batch; the model computes features, gradients may reach the UNet."""

    def __init__(
        self,
        model: PerceptionModel,
        dataset: SampleDataset,
        contexts: Contexts,
        config: TrainConfig,
        pool: LatentPool | None = None,
    ):
        """`pool`: of encoded versions of the images, in their place."""
        self.backbone, self.contexts, self.config = model.backbone, contexts, config
        self.device, self.size_multiple = model.device, model.size_multiple
        self.normalise = RANGES[model.config.image_range]
        self.images = TrainingImages(
            dataset,
            config,
            versions=contexts.versions,
            pool=pool,
            image_range=model.config.image_range,
            size_multiple=getattr(model.backbone, "size_multiple", model.size_multiple),
        )

    def batches(self, positions: Iterable[list[int]]) -> Generator[Batch, None, None]:
        """A batch for each list of positions in the drawn sequence."""
        with closing(batches(self.images, positions, self.config.workers)) as read:
            for items in read:
                yield self.batch(items, encoded=self.images.pool is not None)

    def batch(self, items: Sequence[Item], encoded: bool = False) -> Batch:
        """On the model's device; `encoded`: the items' pixels are latents."""
        _check_one_size({item.size for item in items})
        pixels = torch.stack([item.pixels for item in items]).to(self.device)
        context = self.contexts.context([item.id for item in items], [item.version for item in items])
        return Batch(
            [_to(item.target, self.device) for item in items],
            # Padded before the backbone, as for prediction: borders look alike in training and inference.
            images=None if encoded else pad_to_multiple(self.normalise(pixels), self.size_multiple),
            latents=pixels if encoded else None,
            size=items[0].size,
            padded_size=padded_size(items[0].size, self.size_multiple),
            context=None if context is None else context.to(self.device),
        )


class CachedFeatures:
    """The features of a frozen backbone, each image's and its mirror image's computed once for each of its prompts,
    kept in float16."""

    def __init__(
        self,
        live: LiveFeatures,
        report: Report,
        used: Iterable[Sequence[int]] | None = None,
        left: Iterable[Sequence[int]] | None = None,
    ):
        """`used`: the positions of all micro-batches of the run, None for all images; `left`: of those to come."""
        self.config, self.count, self.versions = live.config, len(live.images.dataset), live.contexts.versions
        batch_size = self.config.batch_size
        # In the order of their first use: batches, and so rounding, are the same where a run resumes.
        picks = all_picks(self.config, self.count) if used is None else self._drawn(used)
        to_come = set(picks if left is None else self._drawn(left))
        self.rows = {picked: row for row, picked in enumerate(picks)}
        self.levels: list[Tensor] = []
        self.targets: list[Target | None] = []
        sizes = set()
        for start in range(0, len(picks), batch_size):
            part = picks[start : start + batch_size]
            if to_come.isdisjoint(part):
                self.targets += [None] * len(part)
                continue
            items = [live.images.read(picked) for picked in part]
            sizes |= {item.size for item in items}
            _check_one_size(sizes)
            for version in range(self.versions):
                batch = live.batch([item._replace(version=version) for item in items])
                with torch.no_grad():
                    levels = features_of(live.backbone, batch)
                self._keep(levels, slice(start, start + len(items)), version, len(picks))
            self.targets += batch.targets
            self.size = batch.size
            report("features", min(start + batch_size, len(picks)), len(picks))

    def _drawn(self, positions: Iterable[Sequence[int]]) -> list[Pick]:
        """The images at these positions, each once, in the order in which they come."""
        found: dict[Pick, None] = {}
        everything = len(all_picks(self.config, self.count))
        for place in chain.from_iterable(positions):
            found[pick(self.config, place, self.count)] = None
            if len(found) == everything:
                break
        return list(found)

    def _keep(self, levels: Sequence[Tensor], rows: slice, version: int, count: int) -> None:
        if not self.levels:
            shapes = [(count, self.versions, *level.shape[1:]) for level in levels]
            self.levels = [
                level.new_empty(shape, dtype=torch.half) for level, shape in zip(levels, shapes, strict=True)
            ]
        for kept, level in zip(self.levels, levels, strict=True):
            kept[rows, version] = level

    def batches(self, positions: Iterable[list[int]]) -> Generator[Batch, None, None]:
        """A batch for each list of positions in the drawn sequence."""
        for places in positions:
            rows = [self.rows[pick(self.config, place, self.count)] for place in places]
            yield self.batch(rows, [draw_version(self.config, place, self.versions) for place in places])

    def batch(self, rows: Sequence[int], versions: Sequence[int]) -> Batch:
        """From memory: the images in these rows of `all_picks`."""
        levels = [level[list(rows), list(versions)].float() for level in self.levels]
        return Batch([self.targets[row] for row in rows], levels=levels, size=self.size)


def is_fixed(trained: Iterable[str], config: TrainConfig) -> bool:
    """Whether an image's features stay as they are: nothing of the backbone trains, and the pixels don't vary."""
    return not config.transform and all(name.startswith("head.") for name in trained)


def features_for(
    live: LiveFeatures, *, fixed: bool, report: Report, share: Share, begun: int
) -> LiveFeatures | CachedFeatures:
    """Cached where they are `fixed` and fit into CACHE_LIMIT: of the images that this process's `share` of the steps
    from `begun` on reads."""
    if not fixed or not cached_bytes(live):
        return live
    used, left = (Positions(share, range(first, live.config.steps)) for first in (0, begun))
    return CachedFeatures(live, report, used, left)


def cached_bytes(live: LiveFeatures) -> int:
    """Of the features of all images; 0 where they are more than CACHE_LIMIT and aren't kept."""
    dataset = live.images.dataset
    height, width = padded_size(tuple(dataset[0].image.shape[-2:]), live.size_multiple)
    cells = sum(channels * (height // stride) * (width // stride) for channels, stride in live.backbone.levels)
    needed = 2 * cells * len(all_picks(live.config, len(dataset))) * live.contexts.versions
    return needed if needed <= CACHE_LIMIT else 0


def features_of(backbone: Backbone, batch: Batch) -> list[Tensor]:
    """The levels of a batch's padded images; gradients reach the UNet where it trains."""
    if batch.levels is not None:
        return batch.levels
    if batch.images is not None:
        return list(backbone(batch.images, batch.context).levels)
    extract = needed(backbone, "extract", "train.crops")
    return list(extract(batch.latents, batch.context, image_size=batch.padded_size).levels)


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
