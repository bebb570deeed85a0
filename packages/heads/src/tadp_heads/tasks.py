"""The interface of a task to training and evaluation, for segmentation, depth and detection."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from tadp_heads.data.sample import Color, Target, Transform
from tadp_heads.registry import get_task
from tadp_heads.results import Result

__all__ = ["Extract", "Features", "Head", "MainMetric", "Metric", "Output", "Task", "get_task", "train_transform"]

Features = Sequence[Tensor]
"""Level tensors (B, C, H/stride, W/stride), finest first."""

Output = tuple[Tensor, ...]
"""A named tuple of tensors whose first dimension is the image."""

Extract = Callable[[Tensor], Features]
"""Images (B, 3, h, w), in the backbone's range -> features. The caller binds the text of these B images; a protocol may
call it several times with windows or rescaled copies of the same images, always in the same order."""


class Head(Protocol):
    """What a registered head is: an `nn.Module` built as `(levels, num_classes, **settings)`, for depth as
    `(levels, **settings)`; `settings` are those of a recipe's [head] that are set together with `head.name`.

    Its constructor only makes modules and parameters: it also runs without memory, on the meta device.
    """

    def __call__(self, levels: tuple[Tensor, ...], *targets: Any) -> Any:
        """Feature levels (B, C, H/stride, W/stride), finest first, of images padded right and bottom to H x W ->

        segmentation: logits (B, num_classes, h, w) of any size; depth: metres (B, 1, h, w) of any size. The task
        resizes them bilinearly to H x W and crops them to the image.
        detection: in training mode, given the B targets too, {name: scalar loss}, which are added up; in eval mode a
        `Detections` per image, in pixels of the padded image. The task clips boxes to the image.
        """


@dataclass(frozen=True, kw_only=True)
class MainMetric:
    """The number by which a task's models are compared, and the best one of a run is kept."""

    key: str
    """Its name in the values of the task's metric."""
    name: str
    unit: str = ""
    scale: float = 1
    """From the metric's values to `unit`."""
    decimals: int = 3
    higher_is_better: bool = True

    @property
    def heading(self) -> str:
        """Of a table."""
        unit = f" in {self.unit}" if self.unit else ""
        return f"{self.name}{unit}, {'higher' if self.higher_is_better else 'lower'} is better"

    def show(self, value: float) -> str:
        """A value in `unit`."""
        return "not defined" if math.isnan(value) else f"{value:.{self.decimals}f}"


class Metric(Protocol):
    """Accumulates over a data set, one image per call."""

    def update(self, prediction: Any, target: Any) -> None:
        """Takes one item of `Task.predict` and the target it is evaluated against."""

    def compute(self) -> dict[str, float]:
        """Names and values as the paper's tables have them."""

    def merge_state(self, incoming_state: Any) -> None:
        """Adds what another one of its kind has accumulated."""


class Task(Protocol):
    """A task, built in or registered; stateless."""

    name: str
    """As in the registry, e.g. "segmentation"."""
    head_class: type[nn.Module]
    """Of the default head: a registered class, or a `PretrainedHead`."""
    main_metric: MainMetric
    protocols: Mapping[str, Any]
    """Named ways to predict and evaluate; the first one is the default."""
    train_transforms: Mapping[str, Callable[[int], Transform]]
    """Named ways to vary and to frame training images: size -> (image, target) to a square of `size` pixels."""

    def build_head(self, levels: Sequence[Any], classes: Sequence[str], **options: Any) -> nn.Module:
        """A head with fresh weights; `options`: the head's registered `name`, and further arguments of its class."""

    def loss(
        self,
        head: nn.Module,
        features: Features,
        targets: Sequence[Target],
        image_size: tuple[int, int] | None = None,
        **options: Any,
    ) -> Tensor:
        """The scalar to minimise; `targets` are those of the B samples, on the features' device.

        `image_size`: (H, W) in pixels of the images, and of their targets, before they were padded right and bottom to
        the size that the features cover; None: they were not padded.
        """

    def predict(self, head: nn.Module, extract: Extract, images: Tensor, protocol: str) -> list[Any]:
        """One prediction per image of `images` (B, 3, H, W), in the protocol's evaluation frame:
        segmentation (H, W) int64 ids; depth (H, W) float32 metres; detection a dict of boxes (N, 4) XYXY pixels,
        scores (N,) descending, labels (N,) 0-based."""

    def output(self, head: nn.Module, features: Features, image_size: tuple[int, int]) -> Output:
        """What `PerceptionModel.forward` returns: a named tuple of tensors (B, ...), in the frame of the images.

        `features`: of images that were padded right and bottom; `image_size`: their (H, W) before. Only needed for
        `forward` and export, which trace it: its operations depend on sizes, not on values.
        """

    def translate(self, prediction: Any, classes: Sequence[str], wanted: Sequence[str]) -> Any:
        """A prediction in the model's `classes` -> in those of the data set that it is evaluated on."""

    def evaluation_target(self, target: Target, protocol: str) -> Target:
        """The target in the protocol's evaluation frame, nearly always the image's own."""

    def metric(self, classes: Sequence[str], protocol: str, **options: Any) -> Metric:
        """An empty metric with the protocol's rules."""

    def result(self, image: Any, prediction: Any, classes: Sequence[str], palette: Sequence[Color]) -> Result:
        """The prediction for one PIL image as the user gets it, in the image's own frame."""


def train_transform(task: str, name: str, size: int) -> Transform:
    """A training transform of the task by its name; images of any size leave it as squares of `size` pixels."""
    known = get_task(task).train_transforms
    if name not in known:
        raise ValueError(f"unknown {task} transform {name!r}; choose from {', '.join(known)}")
    if size < 1:
        raise ValueError(f"a training size of {size}: expected pixels, such as 512")
    return known[name](size)
