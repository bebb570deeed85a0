"""First edition of Scenes: a domain changes colours, edges and grain, never the shape that is drawn."""

import numpy as np

from tadp_heads.data.scenes.raster import UNSEEN_FINISHES, blur, cloud, edges, ground, texture
from tadp_heads.data.scenes.scene import COLOURS, Scene, SceneObject

SUPERSAMPLING = 3


def draw(
    scene: Scene, look: str, silhouettes: list[np.ndarray], owner: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """silhouettes: (S, S) bool per object. owner (S, S): index of the object seen, -1 for the ground. -> (S, S, 3)."""
    canvas = ground(scene.ground, look, len(owner), rng)
    for thing, silhouette in zip(scene.objects, silhouettes, strict=True):
        _paint(canvas, thing, silhouette, look, rng)
    return _FINISHES[look](canvas, owner, rng)


def _paint(canvas: np.ndarray, thing: SceneObject, alpha: np.ndarray, look: str, rng: np.random.Generator) -> None:
    side = len(canvas)
    colour = np.array(COLOURS[thing.colour]) + rng.uniform(-18, 18, 3)
    if look != "comic":
        ys, xs = np.nonzero(alpha)
        offset = side // 40
        ys, xs = np.minimum(ys + offset, side - 1), np.minimum(xs + offset, side - 1)
        fallen = ~alpha[ys, xs]
        canvas[ys[fallen], xs[fallen]] *= 0.72
    ys, xs = np.nonzero(alpha)
    x, y = xs / side, ys / side
    shade = 1 + 0.16 * texture(thing.texture, x, y, rng)
    if look in ("photo", "night", "sepia"):
        # Lit from the upper left: a ramp from -1 to 1 over the object.
        shade = shade + 0.22 * ((thing.x - x + thing.y - y) / (2 * thing.radius)).clip(-1, 1)
    canvas[ys, xs] = colour * np.broadcast_to(shade, x.shape)[:, None]


def _photo(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return canvas * (1 + 0.08 * cloud(len(canvas), 3, rng)[..., None])


def _watercolor(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pale pigment on paper, pooled unevenly and darker along the edge of each wash."""
    side = len(canvas)
    washed = blur(canvas, side / 110)
    washed = 248 - (248 - washed) * (0.62 + 0.3 * cloud(side, 9, rng)[..., None])
    washed[edges(owner, max(side // 64, 1))] *= 0.86
    return blur(washed, side / 190) + 5 * cloud(side, 48, rng)[..., None]


def _comic(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Few flat, strong colours inside black outlines."""
    side = len(canvas)
    flat = (canvas / 64).round() * 64
    grey = flat.mean(axis=2, keepdims=True)
    flat = grey + 1.35 * (flat - grey)
    flat[edges(owner, max(side // 48, 1))] = 15
    return flat


def _night(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Little, bluish light around one lamp, and grain."""
    side = len(canvas)
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    cx, cy = rng.uniform(0.2, 0.8, 2)
    lamp = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.18)[..., None]
    tint = np.array([0.7, 0.82, 1.1], dtype=np.float32)
    grain = rng.normal(0, 9, (side, side, 1)).astype(np.float32)
    return canvas * tint * (0.2 + 0.42 * lamp) + grain


_FINISHES = {"photo": _photo, "watercolor": _watercolor, "comic": _comic, "night": _night, **UNSEEN_FINISHES}
