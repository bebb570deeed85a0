"""What every data set gives: a `Sample` of tv_tensors, so that torchvision.transforms.v2 moves the target too."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypeAlias, TypedDict

import torch
from torch.utils.data import Dataset
from torchvision import tv_tensors

from tadp_heads.data.class_names import default_prompt_names
from tadp_heads.data.inspection import Inspection, inspect_sample
from tadp_heads.data.palette import Color, default_palette


class DetectionTarget(TypedDict):
    """Objects of one image; N of them, N may be 0."""

    boxes: tv_tensors.BoundingBoxes
    """(N, 4) float32 XYXY in pixels of the image, 0-based, right and bottom edges exclusive."""
    labels: torch.Tensor
    """(N,) int64 index into the data set's `classes`; there is no background class."""
    difficult: torch.Tensor
    """(N,) bool; the evaluation ignores such objects."""
    xml_frame: NotRequired[torch.Tensor]
    """() bool: whether boxes have the numbers of VOC's XML files instead: pixels count from 1, a box includes its last
    one. Every reader sets it."""


Target: TypeAlias = Any
"""A tv_tensors.Mask or a DetectionTarget: which of them, the task says."""


class Sample(NamedTuple):
    """One image with its annotation."""

    image: tv_tensors.Image
    """(3, H, W) uint8 RGB."""
    target: Target
    """segmentation: Mask (H, W) int64 class ids, `IGNORE_INDEX` counts nowhere; depth: Mask (H, W) float32 metres,
    0 = no value (a Mask, because it must be resized by nearest); detection: `DetectionTarget`."""
    id: str
    """The name that caption files and split files use for the image."""


IGNORE_INDEX = 255
"""The id of pixels that count nowhere, in every segmentation target of this package."""

Transform = Callable[[tv_tensors.Image, Target], tuple[tv_tensors.Image, Target]]


class SampleDataset(Dataset[Sample], ABC):
    """Map-style data set over `ids`; a reader states its `task` and writes `read`."""

    task: str
    """"segmentation", "depth" or "detection"."""

    def __init__(
        self,
        ids: Sequence[str],
        classes: Sequence[str],
        palette: Sequence[Color] | None = None,
        transform: Transform | None = None,
        prompt_names: Sequence[str] | None = None,
    ):
        self.ids = tuple(ids)
        self.classes = tuple(classes)
        self.prompt_names = default_prompt_names(self.classes) if prompt_names is None else tuple(prompt_names)
        """Each class as prompts and captions name it ("airplane" for "aeroplane"), "" where prompts leave it out."""
        self.palette = tuple(palette) if palette is not None else default_palette(self.classes)
        self.transform = transform

    @cached_property
    def image_files(self) -> Mapping[str, Path]:
        """{id: image file}, the files that captions are written for; raises ValueError where a reader sets none."""
        raise ValueError(
            f"the data set {type(self).__name__} does not say which files its images are in: set its image_files, "
            "{id: path}"
        )

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def read(self, sample_id: str) -> Sample:
        """The untransformed sample, as stored on disk; raises DataError when a file is malformed."""

    def inspect(self, sample_id: str) -> Inspection:
        """What a check wants to know of the sample; raises DataError as `read` does."""
        return inspect_sample(self.read(sample_id))

    def __getitem__(self, index: int) -> Sample:
        sample = self.read(self.ids[index])
        if self.transform is None:
            return sample
        image, target = self.transform(sample.image, sample.target)
        return Sample(image, target, sample.id)
