"""From a scene's numbers to pixels, mask, boxes and depth, in one domain.

Drawn larger and averaged down. A domain never changes where or what an object is, so the annotations of a scene are the
same in every domain.
"""

from typing import NamedTuple

import numpy as np

from tadp_heads.data.scenes.domains import SUPERSAMPLING, draw
from tadp_heads.data.scenes.raster import polygon
from tadp_heads.data.scenes.scene import FAR_M, NEAR_M, SCENE_DOMAINS, Scene
from tadp_heads.data.scenes.shapes import CLASSES, outline

BACKGROUND = len(CLASSES)
"""Index of the ground in masks: the class after the last object class."""


class Rendering(NamedTuple):
    image: np.ndarray  # (S, S, 3) uint8 RGB
    mask: np.ndarray  # (S, S) uint8: index into CLASSES, BACKGROUND for the ground
    depth: np.ndarray  # (S, S) float32, metres
    boxes: np.ndarray  # (N, 4) int, XYXY in pixels, right and bottom exclusive, of what is visible of each object
    labels: np.ndarray  # (N,) int, index into CLASSES; objects hidden entirely are left out


def render(scene: Scene, domain: str, size: int = 64) -> Rendering:
    """`size`: side of the square image in pixels."""
    if domain not in SCENE_DOMAINS:
        raise ValueError(f"unknown domain {domain!r}; choose from {', '.join(SCENE_DOMAINS)}")
    side, factor = size * SUPERSAMPLING, SUPERSAMPLING
    rng = np.random.default_rng([*scene.seed, SCENE_DOMAINS.index(domain)])
    silhouettes = [polygon(outline(CLASSES[o.label]), o, side) for o in scene.objects]
    owner = np.full((side, side), -1, dtype=np.int16)  # which object is seen, -1 for the ground
    for index, silhouette in enumerate(silhouettes):
        owner[silhouette] = index
    canvas = draw(scene, domain, silhouettes, owner, rng)
    image = canvas.reshape(size, factor, size, factor, 3).mean(axis=(1, 3))
    seen = owner[factor // 2 :: factor, factor // 2 :: factor]  # (size, size)
    return Rendering(image.clip(0, 255).round().astype(np.uint8), *_annotate(scene, seen, size))


def _annotate(scene: Scene, seen: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mask, depth, boxes and their labels, as in `Rendering`."""
    labels = np.array([o.label for o in scene.objects] + [BACKGROUND], dtype=np.uint8)
    rows = np.linspace(FAR_M, NEAR_M, size, dtype=np.float32)[:, None]
    depths = np.array([o.depth_m for o in scene.objects] + [0.0], dtype=np.float32)
    depth = np.where(seen >= 0, depths[seen], np.broadcast_to(rows, seen.shape))
    boxes, kept = [], []
    for index, thing in enumerate(scene.objects):
        ys, xs = np.nonzero(seen == index)
        if len(ys):
            boxes.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
            kept.append(thing.label)
    return labels[seen], depth, np.array(boxes, dtype=np.int64).reshape(-1, 4), np.array(kept, dtype=np.int64)
