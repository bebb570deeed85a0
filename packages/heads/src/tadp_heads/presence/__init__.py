"""Which classes are in an image: heads that say so for each, and the threshold above which they are believed."""

from tadp_heads.presence.calibration import Calibration, calibrate
from tadp_heads.presence.head import PresenceHead, PresenceHeadConfig
from tadp_heads.presence.latents import LatentPresence, LatentPresenceConfig

__all__ = [
    "Calibration",
    "LatentPresence",
    "LatentPresenceConfig",
    "PresenceHead",
    "PresenceHeadConfig",
    "calibrate",
]
