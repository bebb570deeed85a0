"""Annotations of any tool as data sets: masks and boxes are drawn when they are read."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torchvision import tv_tensors

from tadp_heads.data.annotations.class_table import ClassTable, class_table
from tadp_heads.data.annotations.shapes import AnnotatedImage, Annotations, Polygons, Shape
from tadp_heads.data.errors import DataError
from tadp_heads.data.image_io import frame_warnings, read_in_frame, require_declared
from tadp_heads.data.inspection import Inspection, inspect_sample
from tadp_heads.data.sample import IGNORE_INDEX, DetectionTarget, Sample, SampleDataset, Transform
from tadp_heads.data.settings import DataSettings
from tadp_heads.preprocessing import size_of

Read = TypeVar("Read")
_ROUNDING = 1.0
"""Pixels by which a point may lie outside its image without a note."""


class AnnotatedDataset(SampleDataset):
    """What annotations of segmentation and of detection share; `problems` names the images that are left out."""

    def __init__(
        self,
        annotations: Annotations,
        settings: DataSettings,
        root: Path,
        ids: tuple[str, ...] | None = None,
        transform: Transform | None = None,
    ):
        self.table = table = class_table(annotations, settings, self.task, root)
        unknown = {name: self._fault(image) for name, image in annotations.images.items()}
        self.images = {name: image for name, image in annotations.images.items() if unknown[name] is None}
        self.problems = [*annotations.problems, *(line for line in unknown.values() if line is not None)]
        ids = tuple(name for name in (annotations.images if ids is None else ids) if name in self.images)
        super().__init__(ids, table.classes, transform=transform, prompt_names=table.prompt_names)

    @cached_property
    def image_files(self) -> Mapping[str, Path]:
        """{id: image file}."""
        return {name: image.file for name, image in self.images.items()}

    def _fault(self, image: AnnotatedImage) -> str | None:
        """Why the image cannot be used, in one line."""
        return self.table.unknown(image)

    def _read_image(self, image: AnnotatedImage) -> tv_tensors.Image:
        pixels = read_in_frame(image.file, image.size)
        require_declared(image.source, image.size, image.file, pixels)
        return pixels

    def _warnings(self, image: AnnotatedImage, size: tuple[int, int]) -> list[str]:
        """Of an image of (height, width) pixels."""
        outside = [
            f"{image.source}: {shape.place} ({shape.label}) leaves {image.file.name} by {far:.0f} pixels; it is cut off"
            for shape in image.shapes
            if isinstance(shape.region, Polygons) and (far := shape.region.outside(*size)) > _ROUNDING
        ]
        return [*outside, *frame_warnings(image.file, image.size)]


class AnnotatedSegmentation(AnnotatedDataset):
    """Masks drawn of shapes: later ones cover earlier ones, those of a higher z_order all others."""

    task = "segmentation"

    def _fault(self, image: AnnotatedImage) -> str | None:
        """An object of which only the box is known would become a wrong mask."""
        for shape in image.shapes:
            if shape.is_extent and self.table.ids.get(shape.label) != IGNORE_INDEX:
                error = DataError(
                    image.source,
                    found=f"only a box for {shape.place} ({shape.label}) of {image.file.name}",
                    expected="the outline of every object",
                    fix="draw it, or use the folder for detection",
                )
                return str(error)
        return super()._fault(image)

    def read(self, sample_id: str) -> Sample:
        """The sample as stored on disk; mask (H, W) int64."""
        image = self.images[sample_id]
        pixels = self._read_image(image)
        mask = draw_mask(image, self.table, tuple(pixels.shape[-2:]))
        return Sample(pixels, tv_tensors.Mask(torch.from_numpy(mask.astype(np.int64))), sample_id)

    def inspect(self, sample_id: str) -> Inspection:
        """Counts the pixels of each class; ignored ones as a mask file's value would be."""
        sample = self.read(sample_id)
        height, width = size = tuple(sample.image.shape[-2:])
        counts = Counter(dict(enumerate(sample.target.flatten().bincount().tolist())))
        if ignored := counts.pop(IGNORE_INDEX, 0):
            counts[len(self.classes) + IGNORE_INDEX] = ignored
        return Inspection(size=(width, height), counts=counts, warnings=self._warnings(self.images[sample_id], size))


class AnnotatedDetection(AnnotatedDataset):
    """The boxes around shapes; shapes of one label and group are one object, crowds are difficult."""

    task = "detection"

    def read(self, sample_id: str) -> Sample:
        """The sample as stored on disk."""
        image = self.images[sample_id]
        pixels = self._read_image(image)
        size = tuple(pixels.shape[-2:])
        objects = [one for group in _grouped(image) if (one := self._object(image, group, size)) is not None]
        boxes = torch.tensor([box for box, _, _ in objects], dtype=torch.float32).reshape(-1, 4)
        target = DetectionTarget(
            boxes=tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
            labels=torch.tensor([label for _, label, _ in objects], dtype=torch.int64),
            difficult=torch.tensor([crowd for _, _, crowd in objects], dtype=torch.bool),
            xml_frame=torch.tensor(False),
        )
        return Sample(pixels, target, sample_id)

    def inspect(self, sample_id: str) -> Inspection:
        """Counts the boxes of each class."""
        sample = self.read(sample_id)
        inspection = inspect_sample(sample)
        inspection.warnings += self._warnings(self.images[sample_id], size_of(sample.image))
        return inspection

    def _object(
        self, image: AnnotatedImage, parts: list[Shape], size: tuple[int, int]
    ) -> tuple[tuple[float, ...], int, bool] | None:
        """Box XYXY, label, crowd; None for what is ignored or lies outside the image."""
        label = self.table.ids[parts[0].label]
        if label == IGNORE_INDEX:
            return None
        found = [_checked(image, part, lambda s: s.region.box(*size)) for part in parts]
        boxes = [box for box in found if box is not None]
        if not boxes:
            return None
        lows, highs = [box[:2] for box in boxes], [box[2:] for box in boxes]
        return (*map(min, *lows, lows[0]), *map(max, *highs, highs[0])), label, any(part.is_crowd for part in parts)


def draw_mask(image: AnnotatedImage, table: ClassTable, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 class ids, IGNORE_INDEX where none counts; `size` is (H, W)."""
    mask = np.full(size, table.unlabelled, dtype=np.uint8)
    for shape in sorted(image.shapes, key=lambda shape: shape.z_order):
        top, left, pixels = _checked(image, shape, lambda s: s.region.cover(*size))
        height, width = pixels.shape
        mask[top : top + height, left : left + width][pixels] = table.ids[shape.label]
    return mask


def _checked(image: AnnotatedImage, shape: Shape, read: Callable[[Shape], Read]) -> Read:
    """What `read` gives for the shape; a DataError where its pixels are malformed."""
    try:
        return read(shape)
    except ValueError as error:
        raise DataError(
            image.source,
            found=f"{error} in {shape.place} of {image.file.name}",
            expected="a complete shape of this image",
            fix="export it again",
        ) from error


def _grouped(image: AnnotatedImage) -> list[list[Shape]]:
    groups: dict[tuple, list[Shape]] = defaultdict(list)
    for number, shape in enumerate(image.shapes):
        groups[(shape.label, shape.group) if shape.group else (number,)].append(shape)
    return list(groups.values())
