"""Monocular depth: feature pyramid in, metres out."""

from tadp_heads.depth.files import read_depth, write_depth_npy, write_depth_png
from tadp_heads.depth.head import DepthHead, DepthHeadConfig
from tadp_heads.depth.loss import silog_loss
from tadp_heads.depth.metrics import DepthMetrics, depth_metrics
from tadp_heads.depth.output import DepthOutput
from tadp_heads.depth.protocol import PROTOCOLS, DepthProtocol, predict_whole, predict_windows
from tadp_heads.depth.task import DepthTask

__all__ = [
    "PROTOCOLS",
    "DepthHead",
    "DepthHeadConfig",
    "DepthMetrics",
    "DepthOutput",
    "DepthProtocol",
    "DepthTask",
    "depth_metrics",
    "predict_whole",
    "predict_windows",
    "read_depth",
    "silog_loss",
    "write_depth_npy",
    "write_depth_png",
]
