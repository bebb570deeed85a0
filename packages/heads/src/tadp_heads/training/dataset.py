"""The path of a training image from the disk to the device: picked, read, varied, stacked, normalised and padded."""

# B batch, T tokens, D width of the context, H W image pixels, h w cells

import os
import signal
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from tadp_heads.data import Sample, SampleDataset
from tadp_heads.data.sample import Target
from tadp_heads.model import PerceptionModel
from tadp_heads.preprocessing import RANGES, pad_to_multiple, padded_size
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.protocols import Backbone, Contexts, needed
from tadp_heads.training.sampler import Pick, draw_version, pick, seed_variation


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


def features_of(backbone: Backbone, batch: Batch) -> list[Tensor]:
    """The levels of a batch's padded images; gradients reach the UNet where it trains."""
    if batch.levels is not None:
        return batch.levels
    if batch.images is not None:
        return list(backbone(batch.images, batch.context).levels)
    extract = needed(backbone, "extract", "train.crops")
    return list(extract(batch.latents, batch.context, image_size=batch.padded_size).levels)


class TrainingImages(Dataset[Item]):
    """The images at positions of the drawn sequence, which is endless."""

    encoded = False
    """Whether items are latents."""

    def __init__(self, dataset: SampleDataset, config: TrainConfig, versions: int = 1):
        """`versions`: prompts per image."""
        self.dataset, self.config, self.versions = dataset, config, versions

    def __getitem__(self, position: int) -> Item:
        picked = pick(self.config, position, len(self.dataset))
        version = draw_version(self.config, position, self.versions)
        seed_variation(self.config, position)
        return self.read(picked)._replace(version=version)

    def unvaried(self, picked: Pick) -> Item:
        """The image where nothing of it is drawn at random."""
        return self.read(picked)

    def read(self, picked: Pick) -> Item:
        """The image from the disk, varied by torch's generators."""
        sample = self.dataset[picked.index]
        if picked.mirrored:
            sample = Sample(v2.functional.horizontal_flip(sample.image), _mirrored(sample.target), sample.id)
        return Item(sample.image.as_subclass(Tensor), tuple(sample.image.shape[-2:]), sample.target, sample.id)


class LiveBatches:
    """Images or their latents for every micro-batch; the model computes features, gradients may reach the UNet."""

    def __init__(self, model: PerceptionModel, images: TrainingImages, contexts: Contexts):
        self.model, self.images, self.contexts = model, images, contexts
        self.device, self.size_multiple = model.device, model.size_multiple
        self.normalise = RANGES[model.config.image_range]

    def batches(self, positions: Iterable[list[int]]) -> Generator[Batch, None, None]:
        """A batch for each list of positions in the drawn sequence."""
        with closing(read(self.images, positions, self.images.config.workers)) as items:
            yield from map(self.batch, items)

    def batch(self, items: Sequence[Item]) -> Batch:
        """On the model's device."""
        check_one_size({item.size for item in items})
        pixels, multiple = torch.stack([item.pixels for item in items]).to(self.device), self.size_multiple
        context = self.contexts.context([item.id for item in items], [item.version for item in items])
        encoded = self.images.encoded
        return Batch(
            [_to(item.target, self.device) for item in items],
            # Padded before the backbone, as for prediction: borders look alike in training and inference.
            images=None if encoded else pad_to_multiple(self.normalise(pixels), multiple),
            latents=pixels if encoded else None,
            size=items[0].size,
            padded_size=padded_size(items[0].size, multiple),
            context=None if context is None else context.to(self.device),
        )


def read(images: Dataset[Item], positions: Iterable[list[int]], workers: int) -> Generator[list[Item], None, None]:
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


def check_one_size(sizes: set[tuple[int, int]]) -> None:
    """Raise ValueError unless all images of a batch have the same (H, W)."""
    if len(sizes) > 1:
        raise ValueError(
            f"training images of different sizes in one batch, such as {sorted(sizes)[:2]} (height, width): "
            "set train.transform (such as user) and train.size"
        )


def _to(target: Target, device: torch.device) -> Target:
    if isinstance(target, dict):
        return {key: value.to(device) for key, value in target.items()}
    return target.to(device)
