"""Which classes are in an image: heads that say so for each, and the threshold above which they are believed."""

from tadp_heads.tagging.calibration import Calibration, calibrate
from tadp_heads.tagging.head import PresenceHead, PresenceHeadConfig

__all__ = [
    "Calibration",
    "PresenceHead",
    "PresenceHeadConfig",
    "calibrate",
]
