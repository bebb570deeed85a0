"""What a task is to the code that trains and scores: segmentation, depth and detection behind one set of calls."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from tadp_heads.data.sample import Color, Target, Transform
from tadp_heads.pretrained import PretrainedHead
from tadp_heads.results import Result

Features = Sequence[Tensor]
"""Level tensors (B, C, H/stride, W/stride), finest first."""

Extract = Callable[[Tensor], Features]
"""Images (B, 3, h, w), in the backbone's range -> features. The caller binds the text of these B images; a protocol may
call it several times with windows or rescaled copies of the same images, always in the same order."""


class Metric(Protocol):
    """Accumulates over a data set, one image a call."""

    def update(self, prediction: Any, target: Any) -> None:
        """Takes one item of `Task.predict` and the target it is to be scored against."""

    def compute(self) -> dict[str, float]:
        """Names and values as the paper's tables have them."""


class Task(Protocol):
    """One of the three tasks; stateless."""

    name: str
    """"segmentation", "depth" or "detection"."""
    head_class: type[PretrainedHead]
    protocols: Mapping[str, Any]
    """Named ways to predict and score; the first one is the default."""
    train_transforms: Mapping[str, Callable[[int], Transform]]
    """Named ways to vary and to frame training images: size -> (image, target) to a square of `size` pixels."""

    def build_head(self, levels: Sequence[Any], classes: Sequence[str], **options: Any) -> PretrainedHead:
        """A head with fresh weights; `options` are further arguments of the head class, by name."""

    def loss(
        self,
        head: PretrainedHead,
        features: Features,
        targets: Sequence[Target],
        image_size: tuple[int, int] | None = None,
        **options: Any,
    ) -> Tensor:
        """The scalar to minimise; `targets` are those of the B samples, on the features' device.

        `image_size`: (H, W) in pixels of the images, and of their targets, before they were padded right and bottom to
        the size that the features cover; None: they were not padded.
        """

    def predict(self, head: PretrainedHead, extract: Extract, images: Tensor, protocol: str) -> list[Any]:
        """One prediction an image of `images` (B, 3, H, W), in the frame in which the protocol scores:
        segmentation (H, W) int64 ids; depth (H, W) float32 metres; detection a dict of boxes (N, 4) XYXY pixels,
        scores (N,) descending, labels (N,) 0-based."""

    def translate(self, prediction: Any, classes: Sequence[str], wanted: Sequence[str]) -> Any:
        """A prediction in the model's `classes` -> in those of the data set that it is scored on."""

    def scoring_target(self, target: Target, protocol: str) -> Target:
        """The target in the frame in which the protocol scores, which is nearly always the image's own."""

    def metric(self, classes: Sequence[str], protocol: str, **options: Any) -> Metric:
        """An empty metric with the protocol's rules."""

    def result(self, image: Any, prediction: Any, classes: Sequence[str], palette: Sequence[Color]) -> Result:
        """The prediction for one PIL image as the user gets it, in the image's own frame."""


_TASKS = {
    "segmentation": ("tadp_heads.segmentation.task", "SegmentationTask"),
    "depth": ("tadp_heads.depth.task", "DepthTask"),
    "detection": ("tadp_heads.detection.task", "DetectionTask"),
}
TASK_NAMES = tuple(_TASKS)


def train_transform(task: str, name: str, size: int) -> Transform:
    """A training transform of the task by its name; images of any size leave it as squares of `size` pixels."""
    known = get_task(task).train_transforms
    if name not in known:
        raise ValueError(f"unknown {task} transform {name!r}; choose from {', '.join(known)}")
    if size < 1:
        raise ValueError(f"a training size of {size}: expected pixels, such as 512")
    return known[name](size)


def get_task(name: str) -> Task:
    """The task of that name."""
    if name not in _TASKS:
        raise ValueError(f"unknown task {name!r}; choose from {', '.join(_TASKS)}")
    module, attribute = _TASKS[name]
    return getattr(importlib.import_module(module), attribute)()
