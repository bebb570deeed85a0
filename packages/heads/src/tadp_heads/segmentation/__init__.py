"""Semantic segmentation: head, losses, metrics and protocols."""

from tadp_heads.segmentation.head import FPNHead, SegmentationHeadConfig
from tadp_heads.segmentation.loss import cross_entropy, focal_loss, resize_logits
from tadp_heads.segmentation.metrics import MeanIoU
from tadp_heads.segmentation.output import SegmentationOutput
from tadp_heads.segmentation.protocol import PROTOCOLS, SegmentationProtocol, predict_probabilities
from tadp_heads.segmentation.task import SegmentationTask

__all__ = [
    "PROTOCOLS",
    "FPNHead",
    "MeanIoU",
    "SegmentationHeadConfig",
    "SegmentationOutput",
    "SegmentationProtocol",
    "SegmentationTask",
    "cross_entropy",
    "focal_loss",
    "predict_probabilities",
    "resize_logits",
]
