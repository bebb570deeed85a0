"""Training images from disk, varied and framed, in the order in which they are drawn."""

import os
import signal
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from tadp_backbone import DiffusionBackbone
from tadp_backbone.latent_cache import LatentCache
from tadp_backbone.padding import pad_to_multiple
from tadp_cli.config.recipe import Recipe
from tadp_cli.training.sampler import Pick, pick, seed_random
from tadp_heads.data import Sample, SampleDataset
from tadp_heads.data.ranges import RANGES
from tadp_heads.data.sample import Target

_CROP, _NUMBER = 1, 2
"""What is drawn for: a version of an image, and the number of an encoded one."""


class Item(NamedTuple):
    """One training image."""

    pixels: Tensor
    """uint8 (3, H, W), or latents (4, h, w) of the padded image."""
    size: tuple[int, int]
    """H, W in pixels."""
    target: Target
    id: str


@dataclass(frozen=True)
class ImageReader(Dataset[Item]):
    """The images at places of the drawn sequence."""

    dataset: SampleDataset
    recipe: Recipe

    def __getitem__(self, position: int) -> Item:
        seed_random(self.recipe.train.seed, _CROP, position)
        return self.read(pick(self.recipe.train, position, len(self.dataset)))

    def read(self, picked: Pick) -> Item:
        """The image, varied by what torch's generator gives."""
        index, mirrored = picked
        sample = self.dataset[index]
        if mirrored:
            flipped = v2.functional.horizontal_flip(sample.image), _mirrored(sample.target)
            sample = Sample(*flipped, sample.id)
        return Item(sample.image.as_subclass(Tensor), tuple(sample.image.shape[-2:]), sample.target, sample.id)


class LatentReader(Dataset[Item]):
    """As ImageReader, with latents in place of images: those of `train.crops` versions, kept in a folder."""

    def __init__(self, images: ImageReader, backbone: DiffusionBackbone):
        recipe = images.recipe
        self.images = images
        self.multiple = backbone.size_multiple
        made_by = [recipe.task, recipe.data.folder, recipe.data.train, recipe.train.transform, recipe.train.size]
        self.pool = LatentCache(
            recipe.train.cache,
            backbone,
            crops=recipe.train.crops,
            augmentation=repr([*made_by, recipe.backbone.image_range, recipe.train.seed]),
        )

    def __getitem__(self, position: int) -> Item:
        train = self.images.recipe.train
        picked = pick(train, position, len(self.images.dataset))
        seed_random(train.seed, _NUMBER, position)
        # drawn by torch's generator, which was seeded for this place
        crop = self.pool.crop(_key(picked), lambda number: self._make(picked, number))
        size = tuple(crop["size"].tolist())
        return Item(crop["latents"], size, _unpacked(crop, size), self.images.dataset.ids[picked[0]])

    def fill(self, picks: Sequence[Pick], progress) -> None:
        """Encode all versions of these images that aren't in the folder yet; only here does the VAE run."""
        by_key = {_key(picked): picked for picked in picks}
        for done, key in enumerate(by_key, 1):
            self.pool.fill([key], lambda key, number: self._make(by_key[key], number))
            progress(done, len(by_key))

    def _make(self, picked: Pick, number: int) -> dict[str, Tensor]:
        recipe = self.images.recipe
        seed_random(recipe.train.seed, _CROP, picked[0], number)
        item = self.images.read(picked)
        image = RANGES[recipe.backbone.image_range](item.pixels)
        padded, _ = pad_to_multiple(image[None], self.multiple)
        return {"image": padded[0], "size": torch.tensor(item.size), **_packed(item.target)}


def batches(
    reader: Dataset[Item], positions: Iterable[Sequence[int]], workers: int
) -> Generator[list[Item], None, None]:
    """The images of each list of places; they don't depend on the number of workers, who end when it is closed."""
    places, begin, workers = list(positions), _leave_stopping_to_the_run, min(workers, _processors())
    try:
        yield from DataLoader(reader, batch_sampler=places, num_workers=workers, collate_fn=list, worker_init_fn=begin)
    except Exception as error:
        # The frames of an error hold the workers, who would outlive the run and, deaf to SIGTERM, keep it from ending.
        raise error.with_traceback(None) from None


def _processors() -> int:
    """Those that this process may use: more readers would wait for each other."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_stopping_to_the_run(worker: int) -> None:
    """A SIGTERM to all processes of a job is answered by the one that saves; readers end when it does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _key(picked: Pick) -> str:
    return f"{picked[0]} {'mirrored' if picked[1] else 'plain'}"


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
