"""Training transforms for detection, over tv_tensors: boxes move with the image."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as TF

from tadp_heads.data.sample import DetectionTarget
from tadp_heads.data.transforms import PadTo, RandomCrop, RandomFit, flip_train


class DropCutBoxes(nn.Module):
    """Clips boxes to the image; an object of which less than `min_share` is left is dropped with its label."""

    def __init__(self, inner: v2.Transform, min_share: float = 0.25):
        super().__init__()
        self.inner, self.min_share = inner, min_share

    def forward(self, image: Any, target: DetectionTarget) -> tuple[Any, DetectionTarget]:
        """The inner transform, then the clipping."""
        # torchvision's crop would clip them itself, and the remaining share of an object would be unknown.
        whole = tv_tensors.wrap(target["boxes"], like=target["boxes"], clamping_mode=None)
        image, target = self.inner(image, {**target, "boxes": whole})
        clipped = TF.clamp_bounding_boxes(target["boxes"], clamping_mode="hard")
        before, after = _areas(target["boxes"]), _areas(clipped)
        kept = (after > 0) & (after >= self.min_share * before)
        boxes = tv_tensors.BoundingBoxes(
            clipped.as_subclass(Tensor)[kept], format="XYXY", canvas_size=clipped.canvas_size
        )
        return image, DetectionTarget(boxes=boxes, labels=target["labels"][kept], difficult=target["difficult"][kept])


def _areas(boxes: Tensor) -> Tensor:
    left, top, right, bottom = boxes.as_subclass(Tensor).unbind(-1)
    return (right - left).clamp(min=0) * (bottom - top).clamp(min=0)


def squash_train(size: int) -> v2.Transform:
    """Forced to a square, nothing else: what the paper's detector was trained with, there with size 512."""
    return v2.Compose([v2.Resize((size, size))])


def user_train(size: int) -> nn.Module:
    """For data that nothing is known about: scales of 0.75 to 1.5 around `size` as shorter side, crops and flips."""
    return DropCutBoxes(
        v2.Compose(
            [
                RandomFit(4 * size, size, ratio=(0.75, 1.5)),
                RandomCrop((size, size)),
                v2.RandomHorizontalFlip(0.5),
                PadTo((size, size)),
            ]
        )
    )


TRAIN_TRANSFORMS: dict[str, Callable[[int], nn.Module]] = {
    "user": user_train,
    "flip": flip_train,
    "squash": squash_train,
}
"""Each: size -> a transform of (image, DetectionTarget) to a square of `size` pixels."""
