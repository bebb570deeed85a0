"""The path of a training image from the disk to what the backbone takes: picked, read, varied, encoded if cached."""

import os
import signal
from collections.abc import Generator, Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from tadp_heads.data import Sample, SampleDataset
from tadp_heads.data.ranges import RANGES
from tadp_heads.data.sample import Target
from tadp_heads.padding import pad_to_multiple
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.protocols import LatentPool, Report
from tadp_heads.training.sampler import Pick, all_picks, draw_version, pick, seed_variation, seed_version


class Item(NamedTuple):
    """One training image."""

    pixels: Tensor
    """uint8 (3, H, W), or latents (4, h, w) of the padded image."""
    size: tuple[int, int]
    """H, W in pixels."""
    target: Target
    id: str
    version: int = 0
    """Which of its prompts it is seen with."""


class TrainingImages(Dataset[Item]):
    """The images at positions of the drawn sequence, from `dataset` or, encoded, from a pool of their versions."""

    def __init__(
        self,
        dataset: SampleDataset,
        config: TrainConfig,
        *,
        versions: int = 1,
        pool: LatentPool | None = None,
        image_range: str = "sd",
        size_multiple: int = 1,
    ):
        """`versions`: prompts per image; `image_range`, `size_multiple`: of the images that the pool encodes."""
        self.dataset, self.config, self.versions, self.pool = dataset, config, versions, pool
        self.normalise, self.size_multiple = RANGES[image_range], size_multiple

    def __getitem__(self, position: int) -> Item:
        picked = pick(self.config, position, len(self.dataset))
        if self.pool is None:
            seed_variation(self.config, position)
            item = self.read(picked)
        else:
            item = self._encoded(self.pool, picked, position)
        return item._replace(version=draw_version(self.config, position, self.versions))

    def read(self, picked: Pick) -> Item:
        """The image from the disk, varied by torch's generators."""
        sample = self.dataset[picked.index]
        if picked.mirrored:
            sample = Sample(v2.functional.horizontal_flip(sample.image), _mirrored(sample.target), sample.id)
        return Item(sample.image.as_subclass(Tensor), tuple(sample.image.shape[-2:]), sample.target, sample.id)

    def fill(self, rank: int, processes: int, report: Report) -> None:
        """Encode all versions of the images that the pool lacks, each process its part; only here does the VAE run."""
        if self.pool is None:
            return
        picks = all_picks(self.config, len(self.dataset))[rank::processes]
        for done, picked in enumerate(picks, 1):

            def make(key: str, number: int, picked: Pick = picked) -> dict[str, Tensor]:
                return self._make(picked, number)

            self.pool.fill([picked.key], make)
            report("latents", done, len(picks))

    def _encoded(self, pool: LatentPool, picked: Pick, position: int) -> Item:
        seed_version(self.config, position)
        crop = pool.crop(picked.key, lambda number: self._make(picked, number))
        size = tuple(crop["size"].tolist())
        return Item(crop["latents"], size, _unpacked(crop, size), self.dataset.ids[picked.index])

    def _make(self, picked: Pick, number: int) -> dict[str, Tensor]:
        seed_variation(self.config, picked.index, number)
        item = self.read(picked)
        padded = pad_to_multiple(self.normalise(item.pixels)[None], self.size_multiple)
        return {"image": padded[0], "size": torch.tensor(item.size), **_packed(item.target)}


def batches(images: Dataset[Item], positions: Iterable[list[int]], workers: int) -> Generator[list[Item], None, None]:
    """The images at each list of positions; they don't depend on the number of workers, who end when it is closed."""
    begin, workers = _leave_stopping_to_the_run, min(workers, _processors())
    try:
        yield from DataLoader(
            images, batch_sampler=positions, num_workers=workers, collate_fn=list, worker_init_fn=begin
        )
    except Exception as error:
        # The frames of an error hold the workers, who would outlive the run and, deaf to SIGTERM, keep it from ending.
        raise error.with_traceback(None) from None


def _processors() -> int:
    """Those that this process may use: more readers would wait for each other."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_stopping_to_the_run(worker: int) -> None:
    """A SIGTERM to all processes of a job is answered by the one that saves; readers end when it does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _mirrored(target: Target) -> Target:
    if isinstance(target, dict):
        return {**target, "boxes": v2.functional.horizontal_flip(target["boxes"])}
    if not isinstance(target, tv_tensors.TVTensor):  # of a whole image, such as its labels
        return target
    return v2.functional.horizontal_flip(target)


def _packed(target: Target) -> dict[str, Tensor]:
    """A target as plain tensors by name."""
    if isinstance(target, dict):
        return {f"target.{key}": value.as_subclass(Tensor) for key, value in target.items()}
    return {"target": target.as_subclass(Tensor)}


def _unpacked(tensors: dict[str, Tensor], size: tuple[int, int]) -> Target:
    """What `_packed` took apart."""
    if "target" in tensors:
        return tv_tensors.Mask(tensors["target"])
    target = {key.removeprefix("target."): value for key, value in tensors.items() if key.startswith("target.")}
    return {**target, "boxes": tv_tensors.BoundingBoxes(target["boxes"], format="XYXY", canvas_size=size)}
