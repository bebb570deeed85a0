"""Drawing masks, depth and boxes over an image; PIL in, PIL out."""

from tadp_heads.overlay.boxes import draw_boxes
from tadp_heads.overlay.depth import color_depth, depth_bar, draw_depth
from tadp_heads.overlay.masks import TINT, draw_mask
from tadp_heads.overlay.sheets import contact_sheet, draw_legend, stacked

__all__ = [
    "TINT",
    "color_depth",
    "contact_sheet",
    "depth_bar",
    "draw_boxes",
    "draw_depth",
    "draw_legend",
    "draw_mask",
    "stacked",
]
