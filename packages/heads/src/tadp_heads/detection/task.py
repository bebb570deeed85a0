"""Detection, as training and evaluation see it."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from tadp_heads.data.class_names import class_mapping
from tadp_heads.data.sample import Color, DetectionTarget
from tadp_heads.detection.detections import Detections, map_classes
from tadp_heads.detection.fixed_size import detect, padded_detections
from tadp_heads.detection.head import FasterRCNNHead
from tadp_heads.detection.loss import detection_loss
from tadp_heads.detection.metrics import AveragePrecision
from tadp_heads.detection.output import DetectionOutput
from tadp_heads.detection.protocol import PROTOCOLS, DetectionProtocol, get_protocol
from tadp_heads.detection.transforms import TRAIN_TRANSFORMS
from tadp_heads.preprocessing import multiple_of, pad_to_multiple, size_of
from tadp_heads.registry import head_class
from tadp_heads.results import DetectionResult
from tadp_heads.tasks import Extract, Features, MainMetric


class DetectionTask:
    """Implements `tadp_heads.tasks.Task`."""

    name = "detection"
    head_class = FasterRCNNHead
    main_metric = MainMetric(key="AP50", name="AP50", unit="percent", scale=100, decimals=1)
    protocols = PROTOCOLS
    train_transforms = TRAIN_TRANSFORMS

    def build_head(
        self, levels: Sequence[Any], classes: Sequence[str], *, name: str = "faster-rcnn", **options: Any
    ) -> nn.Module:
        """A head with fresh weights; `options` are further arguments of its class, e.g. of FasterRCNNHeadConfig."""
        return head_class(self.name, name)(levels, len(classes), **options)

    def loss(
        self,
        head: nn.Module,
        features: Features,
        targets: Sequence[DetectionTarget],
        image_size: tuple[int, int] | None = None,
        *,
        use_difficult: bool = True,
    ) -> Tensor:
        """The sum of the head's losses, four of Faster R-CNN; the head must be in training mode."""
        return detection_loss(head, features, targets, use_difficult, image_size)

    @torch.no_grad()
    def predict(
        self, head: nn.Module, extract: Extract, images: Tensor, protocol: str | DetectionProtocol = "coco"
    ) -> list[Detections]:
        """One Detections per image, in pixels of `images` (B, 3, H, W), on the CPU; the head must be in eval mode."""
        multiple = multiple_of(head)

        def predict(part: Tensor) -> list[Detections]:
            return _detections(head, extract(pad_to_multiple(part, multiple)), size_of(part))

        found = get_protocol(protocol).predict(predict, images)
        return [
            Detections(boxes=one["boxes"].cpu(), scores=one["scores"].cpu(), labels=one["labels"].cpu())
            for one in found
        ]

    def output(self, head: nn.Module, features: Features, image_size: tuple[int, int]) -> DetectionOutput:
        """Boxes of all images in tensors of one size; of Faster R-CNN up to rounding those of `predict`."""
        if head.training:
            raise ValueError("detections are only found in eval mode: call model.eval(), or task.loss to train")
        if isinstance(head, FasterRCNNHead):
            return detect(head, features, image_size)
        return padded_detections(_detections(head, features, image_size))

    def translate(self, prediction: Detections, classes: Sequence[str], wanted: Sequence[str]) -> Detections:
        """Labels in the classes `wanted`, by name; what is none of them is dropped. A class unknown is an error."""
        if tuple(classes) == tuple(wanted):
            return prediction
        return map_classes(prediction, class_mapping(classes, wanted))

    def evaluation_target(self, target: DetectionTarget, protocol: str | DetectionProtocol) -> DetectionTarget:
        """The target itself: boxes are evaluated in the image's own frame."""
        return target

    def metric(
        self, classes: Sequence[str], protocol: str | DetectionProtocol = "coco", **options: Any
    ) -> AveragePrecision:
        """AP by the protocol's rules; `options` are further arguments of AveragePrecision."""
        return AveragePrecision(classes, rules=get_protocol(protocol).rules, **options)

    def result(
        self, image: Image.Image, prediction: Detections, classes: Sequence[str], palette: Sequence[Color]
    ) -> DetectionResult:
        """The boxes for one PIL image."""
        return DetectionResult(image=image, **prediction, names=tuple(classes), palette=tuple(palette))


def _detections(head: nn.Module, features: Features, image_size: tuple[int, int]) -> list[Detections]:
    """One Detections per image, clipped to its (H, W) before it was padded."""
    if isinstance(head, FasterRCNNHead):
        return head(features, image_sizes=[image_size] * len(features[0]))
    found = []
    for detections in head(tuple(features)):
        boxes = clip_boxes_to_image(detections["boxes"], image_size)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(1)
        found.append(
            Detections(boxes=boxes[inside], scores=detections["scores"][inside], labels=detections["labels"][inside])
        )
    return found
