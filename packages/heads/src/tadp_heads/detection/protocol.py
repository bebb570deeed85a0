"""How boxes are predicted and evaluated, by name."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from tadp_heads.detection.detections import Detections, rescale
from tadp_heads.preprocessing import size_of

Predict = Callable[[Tensor], list[Detections]]
"""Images (B, 3, h, w) of any size -> one Detections per image, in the frame of those images."""


@dataclass(frozen=True, kw_only=True)
class DetectionProtocol:
    """How to predict, and the rules of evaluation; boxes are always evaluated in the image's own frame."""

    rules: str = "coco"
    """One of the metric's RULES."""
    squash: int | None = None
    """Side in pixels of the square to which images are forced before prediction; None: their own size."""

    def predict(self, predict: Predict, images: Tensor) -> list[Detections]:
        """Images (B, 3, H, W) -> one Detections per image, in pixels of these images."""
        if self.squash is None:
            return predict(images)
        frame = (self.squash, self.squash)
        squashed = F.interpolate(images, size=frame, mode="bilinear", align_corners=False, antialias=True)
        return [rescale(found, frame, size_of(images)) for found in predict(squashed)]


PROTOCOLS = {
    f"{rules}{suffix}": DetectionProtocol(rules=rules, squash=squash)
    for suffix, squash in (("", None), ("-512", 512))
    for rules in ("coco", "voc2007", "voc2012")
} | {rules: DetectionProtocol(rules=rules, squash=512) for rules in ("voc2007-paper", "voc2012-paper")}
"""coco, voc2007, voc2012 at the image's own size; with -512 in the 512x512 square to which the paper's detector forces
its images (docs/reference.md, section 3); with -paper in that square and by the paper's own evaluator, for models
trained on boxes with the numbers of VOC's XML files."""


def get_protocol(protocol: str | DetectionProtocol) -> DetectionProtocol:
    """A protocol by its name; one that is built already passes."""
    if isinstance(protocol, DetectionProtocol):
        return protocol
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown detection protocol {protocol!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[protocol]
