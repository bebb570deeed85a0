"""Image tagging: the probability that each class is in an image, and thresholds calibrated to a precision or recall."""

from tadp_heads.tagging.calibration import Calibration, calibrate
from tadp_heads.tagging.conformal import conformal_threshold
from tadp_heads.tagging.head import PresenceHead, PresenceHeadConfig
from tadp_heads.tagging.mask_evidence import MaskEvidence, MaskEvidenceConfig
from tadp_heads.tagging.self_prompting import SelfPrompting
from tadp_heads.tagging.train_passes import PassSettings, train_self_prompting

__all__ = [
    "Calibration",
    "MaskEvidence",
    "MaskEvidenceConfig",
    "PassSettings",
    "PresenceHead",
    "PresenceHeadConfig",
    "SelfPrompting",
    "calibrate",
    "conformal_threshold",
    "train_self_prompting",
]
