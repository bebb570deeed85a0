"""Heads, losses, metrics, protocols and data sets of segmentation, depth and detection on a feature pyramid."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tadp_heads.data.known import register_dataset
    from tadp_heads.model import PerceptionModel
    from tadp_heads.model_config import PerceptionConfig
    from tadp_heads.registry import get_task, register_head, register_task
    from tadp_heads.results import DepthResult, DetectionResult, SegmentationResult

_EXPORTS = {
    "PerceptionConfig": "tadp_heads.model_config",
    "PerceptionModel": "tadp_heads.model",
    "DepthResult": "tadp_heads.results",
    "DetectionResult": "tadp_heads.results",
    "SegmentationResult": "tadp_heads.results",
    "get_task": "tadp_heads.registry",
    "register_dataset": "tadp_heads.data.known",
    "register_head": "tadp_heads.registry",
    "register_task": "tadp_heads.registry",
}

__all__ = [
    "DepthResult",
    "DetectionResult",
    "PerceptionConfig",
    "PerceptionModel",
    "SegmentationResult",
    "get_task",
    "register_dataset",
    "register_head",
    "register_task",
]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; a name brings it in when it is first asked for.
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
