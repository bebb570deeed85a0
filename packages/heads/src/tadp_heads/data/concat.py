"""Several data sets as one, and one data set in the classes of another."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from tadp_heads.data.class_names import class_mapping
from tadp_heads.data.inspection import Inspection
from tadp_heads.data.sample import Sample, SampleDataset, Transform


class Joined(SampleDataset):
    """The samples of several data sets of one task and one list of classes, one after the other."""

    def __init__(self, parts: Sequence[SampleDataset], transform: Transform | None = None):
        first = parts[0]
        for part in parts[1:]:
            if (part.task, part.classes) != (first.task, first.classes):
                raise ValueError(
                    f"{part.task} of {len(part.classes)} classes cannot follow {first.task} of {len(first.classes)}: "
                    "data sets are joined in one task and one list of classes (InClasses brings boxes into another)"
                )
        self.task = first.task
        self.owner: dict[str, SampleDataset] = {}
        for part in parts:
            shared = next((sample_id for sample_id in part.ids if sample_id in self.owner), None)
            if shared is not None:
                raise ValueError(f"the id {shared!r} is in several of the joined data sets: take it off one of them")
            self.owner |= dict.fromkeys(part.ids, part)
        super().__init__(tuple(self.owner), first.classes, first.palette, transform, first.prompt_names)

    @cached_property
    def image_files(self) -> Mapping[str, Path]:
        """{id: image file}."""
        files = {part: part.image_files for part in set(self.owner.values())}
        return {sample_id: files[part][sample_id] for sample_id, part in self.owner.items()}

    def read(self, sample_id: str) -> Sample:
        """The sample as stored on disk."""
        return self.owner[sample_id].read(sample_id)

    def inspect(self, sample_id: str) -> Inspection:
        """As the part inspects it."""
        return self.owner[sample_id].inspect(sample_id)


class InClasses(SampleDataset):
    """A detection data set with the classes of another, matched by name; objects of other classes are left out.

    COCO in VOC's twenty classes, for one. A class that the data set lacks simply never occurs.
    """

    task = "detection"

    def __init__(self, dataset: SampleDataset, classes: Sequence[str], transform: Transform | None = None):
        if dataset.task != self.task:
            raise ValueError(f"a data set for {dataset.task}: only objects can be left out of an image by their class")
        self.dataset = dataset
        self.mapping = class_mapping(dataset.classes, classes, allow_missing=True)
        if not self.mapping:
            raise ValueError(f"none of {', '.join(classes)} is among the data's classes: {', '.join(dataset.classes)}")
        known = {ours: dataset.prompt_names[theirs] for theirs, ours in self.mapping.items()}
        names = [known.get(label, name) for label, name in enumerate(classes)]
        super().__init__(dataset.ids, classes, transform=transform, prompt_names=names)

    @cached_property
    def image_files(self) -> Mapping[str, Path]:
        """{id: image file}."""
        return self.dataset.image_files

    def read(self, sample_id: str) -> Sample:
        """The sample as stored on disk, with the objects of these classes."""
        image, target, _ = self.dataset.read(sample_id)
        kept = [row for row, label in enumerate(target["labels"].tolist()) if label in self.mapping]
        labels = [self.mapping[label] for label in target["labels"][kept].tolist()]
        boxes = type(target["boxes"])(target["boxes"][kept], format="XYXY", canvas_size=tuple(image.shape[-2:]))
        known = {"boxes": boxes, "labels": target["labels"].new_tensor(labels), "difficult": target["difficult"][kept]}
        return Sample(image, {**target, **known}, sample_id)
