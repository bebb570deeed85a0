"""Object detection: feature pyramid in, boxes out."""

from tadp_heads.data.class_names import class_mapping
from tadp_heads.detection.detections import Detections, map_classes, rescale
from tadp_heads.detection.head import FasterRCNNHead, FasterRCNNHeadConfig
from tadp_heads.detection.loss import detection_loss, training_targets
from tadp_heads.detection.metrics import RULES, AveragePrecision
from tadp_heads.detection.output import DetectionOutput
from tadp_heads.detection.protocol import PROTOCOLS, DetectionProtocol
from tadp_heads.detection.task import DetectionTask

__all__ = [
    "PROTOCOLS",
    "RULES",
    "AveragePrecision",
    "DetectionOutput",
    "DetectionProtocol",
    "DetectionTask",
    "Detections",
    "FasterRCNNHead",
    "FasterRCNNHeadConfig",
    "class_mapping",
    "detection_loss",
    "map_classes",
    "rescale",
    "training_targets",
]
