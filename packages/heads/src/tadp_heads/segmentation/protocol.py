"""How a segmentation is predicted and in which frame it is evaluated; for any batch and any image size."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tadp_heads.preprocessing import cut_padding, pad_to_multiple, resize_maps, size_of

# B batch, K classes, H W = the image's own size, h w = any size within a protocol.
PredictLogits = Callable[[Tensor], Tensor]
"""Images (B, 3, h, w), h and w multiples of the backbone's coarsest stride -> logits (B, K, about h, about w)."""


@dataclass(frozen=True, kw_only=True)
class SegmentationProtocol:
    """A way to predict; the defaults are one pass over the unscaled image."""

    fit: tuple[int, int] | None = None
    """(long, short) pixels into which the image is scaled first, keeping its aspect ratio; None: no scaling."""
    squash: int | None = None
    """Side in pixels of the square to which the image is resized and in which it is evaluated; None: its own frame."""
    crop: int | None = None
    """Side of the sliding windows in pixels; None: the whole image in one pass."""
    stride: int = 341
    """Step between windows in pixels."""
    ratios: tuple[float, ...] = (1.0,)
    """Scales whose probabilities are averaged."""
    flip: bool = False
    """Whether each scale is also predicted mirrored."""

    def __post_init__(self) -> None:
        if self.fit is not None and self.squash is not None:
            raise ValueError(f"fit {self.fit} and squash {self.squash}: a protocol takes at most one of the two")
        if self.crop is not None and not 1 <= self.stride <= self.crop:
            raise ValueError(f"stride {self.stride}: expected 1..{self.crop} (crop), or pixels would be left out")


_SCALES = (1.0, 1.125, 1.25, 1.375, 1.5)
PROTOCOLS = {
    "whole": SegmentationProtocol(),
    "slide": SegmentationProtocol(crop=512),
    "ms-flip": SegmentationProtocol(ratios=_SCALES, flip=True),
    "squash-512": SegmentationProtocol(squash=512),  # Pascal: VOCDataset.py:198-202
    "ade": SegmentationProtocol(fit=(2048, 512), crop=512),  # ade20k_vpd.py:23-37, fpn_r50.py:36
    "ade-ms-flip": SegmentationProtocol(fit=(2048, 512), crop=512, ratios=_SCALES, flip=True),  # test_tadp_mm.py:180
    "cityscapes": SegmentationProtocol(fit=(1024, 512), crop=512),  # cityscapes_to_*.py
}


def get_protocol(protocol: str | SegmentationProtocol) -> SegmentationProtocol:
    """A protocol by its name; one that is built already passes."""
    if isinstance(protocol, SegmentationProtocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown segmentation protocol {protocol!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[protocol]


def predict_probabilities(
    predict_logits: PredictLogits, images: Tensor, protocol: SegmentationProtocol, multiple: int
) -> Tensor:
    """Images (B, 3, H, W) -> probabilities (B, K, H, W), or (B, K, squash, squash) for a squashing protocol.

    `multiple`: the backbone's coarsest stride; sides are padded to it for each pass.
    """
    out_size = (protocol.squash, protocol.squash) if protocol.squash else size_of(images)
    passes = []
    for ratio in protocol.ratios:
        scaled = _rescale(images, protocol, ratio)
        for mirrored in (False, True) if protocol.flip else (False,):
            logits = _predict_scaled(predict_logits, scaled.flip(-1) if mirrored else scaled, protocol, multiple)
            probabilities = resize_maps(logits, out_size).softmax(1)
            passes.append(probabilities.flip(-1) if mirrored else probabilities)
    return torch.stack(passes).mean(0) if len(passes) > 1 else passes[0]


def evaluation_mask(mask: Tensor, protocol: SegmentationProtocol) -> Tensor:
    """The label (H, W) in the protocol's evaluation frame: its own, or squashed by nearest neighbour."""
    if protocol.squash is None:
        return mask
    side = (protocol.squash, protocol.squash)
    return F.interpolate(mask[None, None].double(), size=side, mode="nearest")[0, 0].to(mask.dtype)


def windows(length: int, crop: int, stride: int) -> list[tuple[int, int]]:
    """[start, end) of the windows over one side; the last is moved back to end with the side (mmsegmentation 0.30)."""
    starts = range(0, max(length - crop, 0) + stride, stride) if length > crop else (0,)
    ends = [min(start + crop, length) for start in starts]
    return list(dict.fromkeys((max(end - crop, 0), end) for end in ends))


def _rescale(images: Tensor, protocol: SegmentationProtocol, ratio: float) -> Tensor:
    height, width = images.shape[-2:]
    if protocol.squash is not None:
        side = round(protocol.squash * ratio)
        # OpenCV's cubic, which saturates; torch's overshoots instead.
        low, high = images.amin(), images.amax()
        return F.interpolate(images, size=(side, side), mode="bicubic", align_corners=False).clamp(low, high)
    factor = ratio
    if protocol.fit is not None:
        long, short = (int(side * ratio) for side in protocol.fit)
        factor = min(long / max(height, width), short / min(height, width))
    size = (max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5)))
    if size == (height, width):
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def _predict_scaled(
    predict_logits: PredictLogits, images: Tensor, protocol: SegmentationProtocol, multiple: int
) -> Tensor:
    """Logits (B, K, h, w) for images (B, 3, h, w); where windows overlap, their mean."""
    height, width = images.shape[-2:]
    if protocol.crop is None:
        return _predict_padded(predict_logits, images, multiple)
    total, count = images.new_zeros(0), images.new_zeros(1, 1, height, width)
    for top, bottom in windows(height, protocol.crop, protocol.stride):
        for left, right in windows(width, protocol.crop, protocol.stride):
            logits = _predict_padded(predict_logits, images[..., top:bottom, left:right], multiple)
            if not total.numel():  # how many classes there are, the first window shows
                total = logits.new_zeros(*logits.shape[:2], height, width)
            total[..., top:bottom, left:right] += logits
            count[..., top:bottom, left:right] += 1
    return total / count


def _predict_padded(predict_logits: PredictLogits, images: Tensor, multiple: int) -> Tensor:
    padded = pad_to_multiple(images, multiple)
    return cut_padding(predict_logits(padded), size_of(padded), size_of(images)).float()
