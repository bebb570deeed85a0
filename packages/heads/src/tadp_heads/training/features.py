"""Features of a frozen backbone, computed once and kept in memory or on disk."""

# B batch, C channels, h w cells

import logging
import time
from collections.abc import Generator, Iterable, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from tadp_heads.data.sample import Target
from tadp_heads.preprocessing import padded_size
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.dataset import Batch, LiveBatches, check_one_size, features_of
from tadp_heads.training.feature_store import FeatureStore, store_for
from tadp_heads.training.parallel.data_parallel import Share
from tadp_heads.training.protocols import Report
from tadp_heads.training.sampler import Pick, Positions, all_picks, draw_version, pick

CACHE_LIMIT = 2 * 2**30
"""Bytes of features that are kept in memory; more are read from disk at each step."""
_MEASURED, _WORTH_REPORTING = 5.0, 60.0
"""Seconds of computing before the time left is estimated; seconds left from which it is logged."""

log = logging.getLogger(__name__)


class CachedFeatures:
    """The features of a frozen backbone, each image's and its mirror image's computed once for each of its prompts,
    kept in float16."""

    def __init__(
        self,
        live: LiveBatches,
        report: Report,
        used: Sequence[Pick] | None = None,
        left: Iterable[Pick] | None = None,
        store: FeatureStore | None = None,
        in_memory: bool = True,
    ):
        """`used`: the images of the run, None for all; `left`: of the steps to come. `store`: where features are read
        and written; not `in_memory`, they stay there."""
        self.config, self.count, self.versions = live.images.config, len(live.images.dataset), live.images.versions
        self.store, self.device = store, live.device
        batch_size = self.config.batch_size
        # In the order of their first use: batches, and so rounding, are the same where a run resumes.
        picks = all_picks(self.config, self.count) if used is None else list(used)
        to_come = set(picks if left is None else left)
        self.rows = {picked: row for row, picked in enumerate(picks)}
        self.kept: _InMemory | _OnDisk = _InMemory(len(picks), self.versions) if in_memory else _OnDisk(store)
        self.targets: dict[int, Target] = {}
        self._seconds, self._computed, self._reported = 0.0, 0, False
        sizes = set()
        for start in range(0, len(picks), batch_size):
            part = picks[start : start + batch_size]
            if to_come.isdisjoint(part):
                continue
            items = [live.images.unvaried(picked) for picked in part]
            sizes |= {item.size for item in items}
            check_one_size(sizes)
            for version in range(self.versions):
                items = [item._replace(version=version) for item in items]
                batch = live.batch(items)
                files = [] if store is None else store.files(items, batch.context)
                self.kept.put(slice(start, start + len(items)), version, self._levels(live, batch, files), files)
            self.targets |= enumerate(batch.targets, start)
            self.size = batch.size
            self._estimate((len(picks) - start - len(part)) * self.versions)
            report("features", min(start + batch_size, len(picks)), len(picks))

    def _levels(self, live: LiveBatches, batch: Batch, files: Sequence[Path]) -> list[Tensor]:
        """(B, C, h, w) in float16: read from the store, where all of the batch is there, else computed."""
        found = [] if self.store is None else [self.store.read(file) for file in files]
        known = [levels for levels in found if levels is not None]
        if files and len(known) == len(files):
            return [torch.stack(level).to(self.device) for level in zip(*known, strict=True)]
        began = time.monotonic()
        with torch.no_grad():
            computed = [level.half() for level in features_of(live.model.backbone, batch)]
        self._seconds, self._computed = self._seconds + time.monotonic() - began, self._computed + len(batch.targets)
        for row, (file, there) in enumerate(zip(files, found, strict=True)):
            if there is None:
                assert self.store is not None
                self.store.write(file, [level[row] for level in computed])
            else:  # computed in another batch, and so rounded otherwise, as it will be read when the run resumes
                for level, kept in zip(computed, there, strict=True):
                    level[row] = kept
        return computed

    def _estimate(self, left: int) -> None:
        """Log once how long computing the features of the `left` images takes, if it is long."""
        if self._reported or self._seconds < _MEASURED:
            return
        self._reported, seconds = True, self._seconds / self._computed * left
        if seconds >= _WORTH_REPORTING:
            log.info("computing features: at most %.0f minutes left", seconds / 60)

    def batches(self, positions: Iterable[list[int]]) -> Generator[Batch, None, None]:
        """A batch for each list of positions in the drawn sequence."""
        for places in positions:
            rows = [self.rows[pick(self.config, place, self.count)] for place in places]
            yield self.batch(rows, [draw_version(self.config, place, self.versions) for place in places])

    def batch(self, rows: Sequence[int], versions: Sequence[int]) -> Batch:
        """The images in these rows."""
        levels = [level.to(self.device).float() for level in self.kept.get(rows, versions)]
        return Batch([self.targets[row] for row in rows], levels=levels, size=self.size)


class _InMemory:
    """Levels of all images and prompts, on the backbone's device."""

    def __init__(self, images: int, versions: int):
        self.shape = (images, versions)
        self.levels: list[Tensor] = []

    def put(self, rows: slice, version: int, levels: Sequence[Tensor], files: Sequence[Path]) -> None:
        if not self.levels:
            self.levels = [level.new_empty((*self.shape, *level.shape[1:])) for level in levels]
        for kept, level in zip(self.levels, levels, strict=True):
            kept[rows, version] = level

    def get(self, rows: Sequence[int], versions: Sequence[int]) -> list[Tensor]:
        return [level[list(rows), list(versions)] for level in self.levels]


class _OnDisk:
    """The files of all images and prompts."""

    def __init__(self, store: FeatureStore | None):
        assert store is not None, "what is not kept in memory has a store"
        self.store = store
        self.files: dict[tuple[int, int], Path] = {}

    def put(self, rows: slice, version: int, levels: Sequence[Tensor], files: Sequence[Path]) -> None:
        self.files |= {(row, version): file for row, file in zip(range(rows.start, rows.stop), files, strict=True)}

    def get(self, rows: Sequence[int], versions: Sequence[int]) -> list[Tensor]:
        images = [self._read(self.files[place]) for place in zip(rows, versions, strict=True)]
        return [torch.stack(level) for level in zip(*images, strict=True)]

    def _read(self, file: Path) -> list[Tensor]:
        levels = self.store.read(file)
        if levels is None:
            raise RuntimeError(f"{file} is missing or damaged: resume the run, which then computes it again")
        return levels


def is_fixed(trained: Iterable[str], config: TrainConfig) -> bool:
    """Whether an image's features stay as they are: nothing of the backbone trains, and the pixels don't vary."""
    return not config.transform and all(name.startswith("head.") for name in trained)


def features_for(
    live: LiveBatches, *, fixed: bool, report: Report, share: Share, begun: int, run: Path
) -> LiveBatches | CachedFeatures:
    """Kept where they are `fixed` and not too many: of the images that this process's `share` of the steps from `begun`
    on reads. `run`: the run's folder."""
    if not fixed:
        return live
    config, count = live.images.config, len(live.images.dataset)
    each = _bytes_per_image(live)
    most = max(CACHE_LIMIT, int(config.features_gb * 1e9))
    used = _drawn(config, count, Positions(share, range(config.steps)), most // each)
    store, needed = store_for(live, run, each * len(used)), each * len(used)
    size = f"features of {len(used)} images{' or more' if needed > most else ''}: {needed / 1e6:,.1f} MB"
    if needed > CACHE_LIMIT and store is None:
        log.info("%s, computed at every step; up to train.features_gb they are kept on disk", size)
        return live
    log.info(
        "%s%s", size, "" if store is None else f", kept in {store.folder}{'' if config.cache else ' for a resume'}"
    )
    left = _drawn(config, count, Positions(share, range(begun, config.steps)), len(used))
    cached = CachedFeatures(live, report, used, left, store, in_memory=needed <= CACHE_LIMIT)
    if store is not None:
        store.trim(config.features_gb * 1e9)
    return cached


def cached_bytes(live: LiveBatches) -> int:
    """Of the features of all images; 0 where they are more than CACHE_LIMIT and aren't kept in memory."""
    needed = _bytes_per_image(live) * len(all_picks(live.images.config, len(live.images.dataset)))
    return needed if needed <= CACHE_LIMIT else 0


def _bytes_per_image(live: LiveBatches) -> int:
    """Of the features of an image under all of its prompts."""
    height, width = padded_size(tuple(live.images.dataset[0].image.shape[-2:]), live.size_multiple)
    cells = sum(channels * (height // stride) * (width // stride) for channels, stride in live.model.backbone.levels)
    return 2 * cells * live.images.versions


def _drawn(config: TrainConfig, count: int, positions: Iterable[Sequence[int]], most: int) -> list[Pick]:
    """The images at these positions, each once, in the order in which they come; of more than `most` the first."""
    found: dict[Pick, None] = {}
    everything = len(all_picks(config, count))
    for place in chain.from_iterable(positions):
        found[pick(config, place, count)] = None
        if len(found) == everything or len(found) > most:
            break
    return list(found)
