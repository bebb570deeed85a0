"""The loss of Faster R-CNN: the plain sum of its four parts (docs/reference.md, section 3: tadp_objdet.py:758-761)."""

from collections.abc import Sequence

from torch import Tensor, nn

from tadp_heads.data.sample import DetectionTarget
from tadp_heads.detection.head import FasterRCNNHead

PARTS = ("loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg")


def detection_loss(
    head: nn.Module,
    features: Sequence[Tensor],
    targets: Sequence[DetectionTarget],
    use_difficult: bool = True,
    image_size: tuple[int, int] | None = None,
) -> Tensor:
    """The sum of PARTS, of a registered head that of all its losses, for a head in training mode.

    `use_difficult`: whether to learn from objects marked as difficult too, as the reference does for VOC; say False for
    COCO, whose crowd regions carry that mark. `image_size`: (H, W) of the images before they were padded, None: as the
    features cover them.
    """
    learned = list(targets) if use_difficult else training_targets(targets)
    if not isinstance(head, FasterRCNNHead):
        return sum(head(tuple(features), learned).values())
    losses = head(features, learned, None if image_size is None else [image_size] * len(targets))
    return sum(losses[part] for part in PARTS)


def training_targets(targets: Sequence[DetectionTarget]) -> list[DetectionTarget]:
    """The targets without their difficult objects."""

    def easy(target: DetectionTarget) -> DetectionTarget:
        kept = ~target["difficult"]
        boxes, labels, difficult = (target[name][kept] for name in ("boxes", "labels", "difficult"))
        return DetectionTarget(boxes=boxes, labels=labels, difficult=difficult)

    return [easy(target) for target in targets]
