"""Segmentation, as training and evaluation see it."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from tadp_heads.data.sample import Color
from tadp_heads.preprocessing import covered_size, cut_padding, multiple_of
from tadp_heads.pretrained import PretrainedHead
from tadp_heads.registered_head import settings_of
from tadp_heads.registry import head_class
from tadp_heads.results import SegmentationResult
from tadp_heads.segmentation.head import FPNHead
from tadp_heads.segmentation.loss import LOSSES
from tadp_heads.segmentation.metrics import MeanIoU
from tadp_heads.segmentation.output import ConfidentIds, SegmentationOutput
from tadp_heads.segmentation.protocol import (
    PROTOCOLS,
    SegmentationProtocol,
    evaluation_mask,
    get_protocol,
    predict_probabilities,
)
from tadp_heads.segmentation.transforms import TRAIN_TRANSFORMS
from tadp_heads.tasks import Extract, Features, MainMetric


class SegmentationTask:
    """Implements `tadp_heads.tasks.Task`."""

    name = "segmentation"
    head_class = FPNHead
    main_metric = MainMetric(key="mIoU", name="mIoU", unit="percent", scale=100, decimals=1)
    protocols = PROTOCOLS
    train_transforms = TRAIN_TRANSFORMS

    def build_head(
        self, levels: Sequence[Any], classes: Sequence[str], *, name: str = "fpn", **options: Any
    ) -> nn.Module:
        """A head with one logit per class; `options` are further arguments of its class, e.g. the FPN's variant."""
        return head_class(self.name, name)(levels, len(classes), **options)

    def loss(
        self,
        head: nn.Module,
        features: Features,
        targets: Sequence[Tensor],
        image_size: tuple[int, int] | None = None,
        *,
        kind: str = "cross-entropy",
        **options: Any,
    ) -> Tensor:
        """`kind` names one of LOSSES, `options` are its further arguments."""
        if kind not in LOSSES:
            raise ValueError(f"unknown segmentation loss {kind!r}; choose from {', '.join(LOSSES)}")
        target = torch.stack([target.as_subclass(Tensor) for target in targets])  # (B, H, W)
        logits = _logits(head, features)
        if image_size is not None and image_size != (padded_size := covered_size(head, features)):
            logits = cut_padding(logits, padded_size, image_size)
        return LOSSES[kind](logits, target, **options)

    @torch.no_grad()
    def predict(
        self, head: nn.Module, extract: Extract, images: Tensor, protocol: str | SegmentationProtocol = "whole"
    ) -> list[Tensor]:
        """One (H, W) int64 tensor of class ids per image; see `Task.predict`."""
        return list(self.probabilities(head, extract, images, protocol).argmax(1).cpu())

    @torch.no_grad()
    def predict_confident(
        self, head: nn.Module, extract: Extract, images: Tensor, protocol: str | SegmentationProtocol = "whole"
    ) -> list[ConfidentIds]:
        """`predict`, with the probability of each pixel's class."""
        confidence, ids = self.probabilities(head, extract, images, protocol).max(1)
        return [ConfidentIds(*pair) for pair in zip(ids.cpu(), confidence.float().cpu(), strict=True)]

    @torch.no_grad()
    def probabilities(
        self, head: nn.Module, extract: Extract, images: Tensor, protocol: str | SegmentationProtocol
    ) -> Tensor:
        """(B, K, H, W)."""
        protocol = get_protocol(protocol)
        return predict_probabilities(lambda x: _logits(head, extract(x)), images, protocol, multiple_of(head))

    def output(self, head: nn.Module, features: Features, image_size: tuple[int, int]) -> SegmentationOutput:
        """Logits at the images' own size."""
        logits = cut_padding(_logits(head, features), covered_size(head, features), image_size)
        return SegmentationOutput(logits.float())

    def translate(self, prediction: Tensor, classes: Sequence[str], wanted: Sequence[str]) -> Tensor:
        """The ids as they are: every pixel has a class, so the data must have the model's."""
        if tuple(classes) != tuple(wanted):
            raise ValueError(f"the model knows the classes {', '.join(classes)}; the data has {', '.join(wanted)}")
        return prediction

    def evaluation_target(self, target: Tensor, protocol: str | SegmentationProtocol) -> Tensor:
        """The mask at the size at which the protocol evaluates."""
        return evaluation_mask(target.as_subclass(Tensor), get_protocol(protocol))

    def metric(self, classes: Sequence[str], protocol: str | SegmentationProtocol = "whole", **options: Any) -> MeanIoU:
        """mIoU; `options` are further arguments of MeanIoU."""
        get_protocol(protocol)
        return MeanIoU(classes, **options)

    def result(
        self, image: Image.Image, prediction: Tensor | ConfidentIds, classes: Sequence[str], palette: Sequence[Color]
    ) -> SegmentationResult:
        """Ids at the image's size; a prediction in another frame is resized by nearest neighbour."""
        ids, confidence = prediction if isinstance(prediction, ConfidentIds) else (prediction, None)
        if tuple(ids.shape) != (image.height, image.width):
            ids = _resized(ids.double(), image).long()
            confidence = None if confidence is None else _resized(confidence, image)
        return SegmentationResult(
            image=image, ids=ids, names=tuple(classes), palette=tuple(palette), confidence=confidence
        )


def _resized(values: Tensor, image: Image.Image) -> Tensor:
    """(h, w) -> (H, W) of the image, by nearest neighbour."""
    return torch.nn.functional.interpolate(values[None, None], size=(image.height, image.width))[0, 0]


def _logits(head: nn.Module, features: Features) -> Tensor:
    """(B, K, h, w); raise ValueError for a registered head that gives something else."""
    logits = head(tuple(features))
    settings = None if isinstance(head, PretrainedHead) else settings_of(head)
    if settings is not None and (logits.ndim != 4 or logits.shape[1] != settings["num_classes"]):
        raise ValueError(
            f"{type(head).__name__} gives {tuple(logits.shape)}: expected logits (B, {settings['num_classes']}, h, w)"
        )
    return logits
