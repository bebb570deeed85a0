"""Two results of one image: drawn alike, and where they differ."""

import numpy as np
from PIL import Image

from tadp_cli.report.heat_maps import heat_overlay
from tadp_heads.overlay import TINT, stacked
from tadp_heads.results import DepthResult, Result, SegmentationResult


def overlay(result: Result, opacity: float = TINT) -> Image.Image:
    """The result over its image; depth with its bar in metres, and without an opacity, which it has none of."""
    if isinstance(result, SegmentationResult):
        return result.overlay(opacity)
    if isinstance(result, DepthResult):
        drawn = result.overlay()
        factor = max(1, -(-256 // drawn.width))
        large = drawn.resize((drawn.width * factor, drawn.height * factor), Image.Resampling.NEAREST)
        return stacked(large, result.legend(large.width))
    return result.overlay()


def difference(first: Result, second: Result) -> tuple[Image.Image, str]:
    """An image of the difference, and what it is in numbers."""
    if isinstance(first, SegmentationResult) and isinstance(second, SegmentationResult):
        changed = (first.ids != second.ids).numpy().astype(np.float32)
        return heat_overlay(first.image, changed, 1.0), f"another class in {100 * changed.mean():.1f} % of the pixels"
    if isinstance(first, DepthResult) and isinstance(second, DepthResult):
        metres = (first.metres - second.metres).abs().numpy()
        return heat_overlay(first.image, metres), f"mean {metres.mean():.3f} m, at most {metres.max():.3f} m"
    return second.overlay(), "the second prompt's objects"
