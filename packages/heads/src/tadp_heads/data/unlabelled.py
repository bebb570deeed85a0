"""Images without labels, as a data set whose targets say nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision import tv_tensors

from tadp_heads.data.class_names import default_prompt_names
from tadp_heads.data.image_io import open_rgb
from tadp_heads.data.palette import default_palette
from tadp_heads.data.sample import DetectionTarget, Sample, SampleDataset, Target, Transform

# H W image pixels

TASKS = ("segmentation", "depth", "detection")


class UnlabelledImages(SampleDataset):
    """Image files alone, to be predicted or trained on by a model's own predictions; no label file is looked for.

    The target holds the image's place through crops: a Mask (H, W) of zeros, which a transform pads with IGNORE_INDEX,
    for depth 0 = no value, or no boxes.
    """

    def __init__(
        self,
        files: Mapping[str, Path],
        task: str,
        classes: Sequence[str],
        transform: Transform | None = None,
        prompt_names: Sequence[str] | None = None,
    ):
        """`files`: {id: image file}; `classes`: the model's."""
        if task not in TASKS:
            raise ValueError(f"unlabelled images of {task}: expected {' or '.join(TASKS)}")
        if not files:
            raise ValueError("no unlabelled images: name a folder that has some")
        self.task = task
        self.image_files = dict(files)
        super().__init__(tuple(files), classes, transform=transform, prompt_names=prompt_names)

    def name_classes(self, classes: Sequence[str]) -> None:
        """Take those of the model that predicts the images."""
        self.classes, self.prompt_names = tuple(classes), default_prompt_names(classes)
        self.palette = default_palette(self.classes)

    def read(self, sample_id: str) -> Sample:
        """The image, and a target of its size that says nothing."""
        image = torch.from_numpy(np.array(open_rgb(self.image_files[sample_id]))).permute(2, 0, 1)
        return Sample(tv_tensors.Image(image), self._nothing((image.shape[1], image.shape[2])), sample_id)

    def _nothing(self, size: tuple[int, int]) -> Target:
        if self.task == "segmentation":
            return tv_tensors.Mask(torch.zeros(size, dtype=torch.int64))
        if self.task == "depth":
            return tv_tensors.Mask(torch.zeros(size))
        boxes = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=size)
        nothing = torch.zeros(0, dtype=torch.int64)
        return DetectionTarget(boxes=boxes, labels=nothing, difficult=nothing.bool(), xml_frame=torch.tensor(False))
