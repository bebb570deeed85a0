"""Training transforms for depth, over tv_tensors (docs/reference.md, section 5)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from tadp_heads.data.transforms import (
    BrightnessContrast,
    HueSaturationValue,
    PadTo,
    RandomCrop,
    RandomFit,
    RandomGamma,
    coin,
    flip_train,
    uniform,
)
from tadp_heads.depth.files import MILLIMETRES


class CutDepth(v2.Transform):
    """Now and then paints a vertical strip of the image with its depth in millimetres, modulo 256.

    The strip begins at a share U(0, 1) of the width and is U(0, 1) of `reach` of the rest wide. The public code does so
    for every fourth sample of a worker; here each has that chance. Its millimetres wrap in the bytes of the image, too.
    """

    _transformed_types = (tv_tensors.Image, tv_tensors.Mask)  # a mask only for display

    def __init__(self, probability: float = 0.25, reach: float = 0.75):
        super().__init__()
        self.probability, self.reach = probability, reach

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """First column, column after the last, the strip (H, w) of bytes; nothing when the sample is left alone."""
        if not coin(self.probability):
            return {}
        depth = next(item for item in flat_inputs if isinstance(item, tv_tensors.Mask)).as_subclass(Tensor)
        width = depth.shape[-1]
        start, share = uniform(0, 1), uniform(0, 1)
        first = int(start * width)
        last = first + int(max((width - start * width) * share * self.reach, 1))
        strip = (depth[..., first:last] * MILLIMETRES).round().to(torch.int64) % 256
        return {"first": first, "last": last, "strip": strip.to(torch.uint8)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """See the class."""
        if not params or isinstance(inpt, tv_tensors.Mask):
            return inpt
        painted = inpt.as_subclass(Tensor).clone()
        painted[..., params["first"] : params["last"]] = params["strip"]
        return tv_tensors.wrap(painted, like=inpt)


def nyu_train(size: int) -> v2.Transform:
    """What the paper trained NYUv2 with, there with size 480."""
    return v2.Compose(
        [
            CutDepth(),
            v2.RandomHorizontalFlip(0.5),
            RandomCrop((size, size)),
            BrightnessContrast(0.5),
            RandomGamma(0.5),
            HueSaturationValue(0.5),
            PadTo((size, size)),
        ]
    )


def user_train(size: int) -> v2.Transform:
    """For data that nothing is known about: the shorter side brought to `size`, crops and flips.

    The scale is not random: it is a cue of depth, since a thing twice as large is half as far.
    """
    return v2.Compose(
        [RandomFit(4 * size, size), RandomCrop((size, size)), v2.RandomHorizontalFlip(0.5), PadTo((size, size))]
    )


TRAIN_TRANSFORMS: dict[str, Callable[[int], v2.Transform]] = {
    "user": user_train,
    "flip": flip_train,
    "nyu": nyu_train,
}
"""Each: size -> a transform of (image, depth in metres) to a square of `size` pixels."""
