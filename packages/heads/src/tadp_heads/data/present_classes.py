"""Which classes the annotation of an image has."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tadp_heads.data.class_names import object_names
from tadp_heads.data.sample import IGNORE_INDEX, SampleDataset


def present_classes(dataset: SampleDataset, ids: Sequence[str] | None = None) -> dict[str, set[str]]:
    """{image id: names of the objects' classes in its annotation}, of all images or of `ids`."""
    objects = set(object_names(dataset.prompt_names))
    return {image_id: objects & set(names) for image_id, names in annotated_names(dataset, ids).items()}


def annotated_names(dataset: SampleDataset, ids: Sequence[str] | None = None) -> dict[str, list[str]]:
    """{image id: names of the classes in its annotation}, in label order; Pascal's background is one of them."""
    if not dataset.classes:
        raise ValueError(f"{dataset.task} data has no classes that could be present")
    present = {}
    for image_id in dataset.ids if ids is None else ids:
        target = dataset.read(image_id).target
        labels = target["labels"] if dataset.task == "detection" else target
        found = [label for label in torch.unique(labels.as_subclass(Tensor)).tolist() if label != IGNORE_INDEX]
        present[image_id] = [name for name in (dataset.prompt_names[label] for label in found) if name]
    return present
