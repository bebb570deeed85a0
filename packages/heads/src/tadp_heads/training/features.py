"""Features of a frozen backbone, computed once where they fit into memory."""

# B batch, C channels, h w cells

from collections.abc import Generator, Iterable, Sequence
from itertools import chain

import torch
from torch import Tensor

from tadp_heads.data.sample import Target
from tadp_heads.padding import padded_size
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.dataset import Batch, LiveBatches, check_one_size
from tadp_heads.training.loss import features_of
from tadp_heads.training.parallel.data_parallel import Share
from tadp_heads.training.protocols import Report
from tadp_heads.training.sampler import Pick, Positions, all_picks, draw_version, pick

CACHE_LIMIT = 2 * 2**30
"""Bytes of features that are kept in memory."""


class CachedFeatures:
    """The features of a frozen backbone, each image's and its mirror image's computed once for each of its prompts,
    kept in float16."""

    def __init__(
        self,
        live: LiveBatches,
        report: Report,
        used: Iterable[Sequence[int]] | None = None,
        left: Iterable[Sequence[int]] | None = None,
    ):
        """`used`: the positions of all micro-batches of the run, None for all images; `left`: of those to come."""
        self.config, self.count, self.versions = live.images.config, len(live.images.dataset), live.images.versions
        batch_size = self.config.batch_size
        # In the order of their first use: batches, and so rounding, are the same where a run resumes.
        picks = all_picks(self.config, self.count) if used is None else self._drawn(used)
        to_come = set(picks if left is None else self._drawn(left))
        self.rows = {picked: row for row, picked in enumerate(picks)}
        self.levels: list[Tensor] = []
        self.targets: dict[int, Target] = {}
        sizes = set()
        for start in range(0, len(picks), batch_size):
            part = picks[start : start + batch_size]
            if to_come.isdisjoint(part):
                continue
            items = [live.images.read(picked) for picked in part]
            sizes |= {item.size for item in items}
            check_one_size(sizes)
            for version in range(self.versions):
                batch = live.batch([item._replace(version=version) for item in items], encoded=False)
                with torch.no_grad():
                    levels = features_of(live.model.backbone, batch)
                self._keep(levels, slice(start, start + len(items)), version, len(picks))
            self.targets |= enumerate(batch.targets, start)
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
        """From memory: the images in these rows."""
        levels = [level[list(rows), list(versions)].float() for level in self.levels]
        return Batch([self.targets[row] for row in rows], levels=levels, size=self.size)


def is_fixed(trained: Iterable[str], config: TrainConfig) -> bool:
    """Whether an image's features stay as they are: nothing of the backbone trains, and the pixels don't vary."""
    return not config.transform and all(name.startswith("head.") for name in trained)


def features_for(
    live: LiveBatches, *, fixed: bool, report: Report, share: Share, begun: int
) -> LiveBatches | CachedFeatures:
    """Cached where they are `fixed` and fit into CACHE_LIMIT: of the images that this process's `share` of the steps
    from `begun` on reads."""
    if not fixed or not cached_bytes(live):
        return live
    used, left = (Positions(share, range(first, live.images.config.steps)) for first in (0, begun))
    return CachedFeatures(live, report, used, left)


def cached_bytes(live: LiveBatches) -> int:
    """Of the features of all images; 0 where they are more than CACHE_LIMIT and aren't kept."""
    dataset = live.images.dataset
    height, width = padded_size(tuple(dataset[0].image.shape[-2:]), live.size_multiple)
    cells = sum(channels * (height // stride) * (width // stride) for channels, stride in live.model.backbone.levels)
    needed = 2 * cells * len(all_picks(live.images.config, len(dataset))) * live.images.versions
    return needed if needed <= CACHE_LIMIT else 0
