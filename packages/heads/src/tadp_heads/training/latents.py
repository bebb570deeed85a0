"""Encoded training images: the VAE runs once for each of a limited number of varied versions of an image."""

# h w latent cells

import torch
from torch import Tensor
from torchvision import tv_tensors

from tadp_heads.data import SampleDataset
from tadp_heads.data.sample import Target
from tadp_heads.preprocessing import RANGES, pad_to_multiple
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.dataset import Item, TrainingImages
from tadp_heads.training.protocols import LatentBackbone, LatentPool, Report
from tadp_heads.training.sampler import Pick, all_picks, draw_version, pick, seed_variation, seed_version


class EncodedImages(TrainingImages):
    """As TrainingImages, with latents (4, h, w) of the padded images from a pool of versions in place of pixels."""

    encoded = True

    def __init__(
        self,
        dataset: SampleDataset,
        config: TrainConfig,
        pool: LatentPool,
        backbone: LatentBackbone,
        *,
        image_range: str = "sd",
        versions: int = 1,
    ):
        """`image_range`: one of RANGES, in which the backbone takes its images; `versions`: prompts per image."""
        super().__init__(dataset, config, versions)
        self.pool, self.size_multiple, self.normalise = pool, backbone.size_multiple, RANGES[image_range]

    def __getitem__(self, position: int) -> Item:
        seed_version(self.config, position)
        version = draw_version(self.config, position, self.versions)
        return self.unvaried(pick(self.config, position, len(self.dataset)))._replace(version=version)

    def unvaried(self, picked: Pick) -> Item:
        """A version of the pool, drawn where there are several."""
        crop = self.pool.crop(picked.key, lambda number: self._make(picked, number))
        size = tuple(crop["size"].tolist())
        return Item(crop["latents"], size, _unpacked(crop, size), self.dataset.ids[picked.index])

    def fill(self, rank: int, processes: int, report: Report) -> None:
        """Encode all versions of the images that the pool lacks, each process its part; only here does the VAE run."""
        picks = all_picks(self.config, len(self.dataset))[rank::processes]
        for done, picked in enumerate(picks, 1):

            def make(key: str, number: int, picked: Pick = picked) -> dict[str, Tensor]:
                return self._make(picked, number)

            self.pool.fill([picked.key], make)
            report("latents", done, len(picks))

    def _make(self, picked: Pick, number: int) -> dict[str, Tensor]:
        seed_variation(self.config, picked.index, number)
        item = self.read(picked)
        padded = pad_to_multiple(self.normalise(item.pixels)[None], self.size_multiple)
        return {"image": padded[0], "size": torch.tensor(item.size), **_packed(item.target)}


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
