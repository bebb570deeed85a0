"""From a scene's numbers to pixels, mask, boxes and depth, in one look.

Drawn at three times the size and averaged down. A look changes colours, edges and grain, never where or what an
object is, so the annotations of a scene are the same in every look.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tadp_heads.data.scenes import ALL_LOOKS, COLOURS, FAR_M, GROUNDS, NEAR_M, Scene, SceneObject
from tadp_heads.data.scenes_shapes import CLASSES, outline

SUPERSAMPLING = 3
BACKGROUND = len(CLASSES)
"""Index of the ground in masks: the class after the last object class."""


class Rendering(NamedTuple):
    image: np.ndarray  # (S, S, 3) uint8 RGB
    mask: np.ndarray  # (S, S) uint8: index into CLASSES, BACKGROUND for the ground
    depth: np.ndarray  # (S, S) float32, metres
    boxes: np.ndarray  # (N, 4) int, XYXY in pixels, right and bottom exclusive, of what is visible of each object
    labels: np.ndarray  # (N,) int, index into CLASSES; objects hidden entirely are left out


def render(scene: Scene, look: str, size: int = 64) -> Rendering:
    """`size`: side of the square image in pixels."""
    if look not in ALL_LOOKS:
        raise ValueError(f"unknown look {look!r}; choose from {', '.join(ALL_LOOKS)}")
    side = size * SUPERSAMPLING
    rng = np.random.default_rng([*scene.seed, ALL_LOOKS.index(look)])
    alphas = [_silhouette(o, side) for o in scene.objects]
    owner = np.full((side, side), -1, dtype=np.int16)  # which object is seen, -1 for the ground
    for index, alpha in enumerate(alphas):
        owner[alpha] = index
    canvas = _ground(scene.ground, look, side, rng)
    for thing, alpha in zip(scene.objects, alphas, strict=True):
        _paint(canvas, thing, alpha, look, rng)
    canvas = _FINISH[look](canvas, owner, rng)
    image = canvas.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean(axis=(1, 3))
    return Rendering(image.clip(0, 255).round().astype(np.uint8), *_annotate(scene, owner, size))


def _annotate(scene: Scene, owner: np.ndarray, size: int):
    seen = owner[SUPERSAMPLING // 2 :: SUPERSAMPLING, SUPERSAMPLING // 2 :: SUPERSAMPLING]  # (S, S)
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


def _silhouette(thing: SceneObject, side: int) -> np.ndarray:
    turn = np.array(
        [[np.cos(thing.rotation), -np.sin(thing.rotation)], [np.sin(thing.rotation), np.cos(thing.rotation)]]
    )
    points = (outline(CLASSES[thing.label]) @ turn.T * thing.radius + (thing.x, thing.y)) * side
    picture = Image.new("L", (side, side))
    ImageDraw.Draw(picture).polygon([tuple(p) for p in points], fill=1)
    return np.asarray(picture, dtype=bool)


def _cloud(side: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise in about [-1, 1], (side, side), with blobs of side / cells pixels."""
    grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC))


def _ground(name: str, look: str, side: int, rng: np.random.Generator) -> np.ndarray:
    first, second = (np.array(colour, dtype=np.float32) for colour in GROUNDS[name])
    mix = 0.5 + 0.35 * _cloud(side, 5, rng)
    mix = (mix > 0.5).astype(np.float32) if look == "comic" else mix + 0.25 * _cloud(side, 20, rng)
    return first + (second - first) * mix[..., None].clip(0, 1)


def _texture(kind: str, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray | float:
    """Brightness pattern in [-1, 1] at the places x, y (fractions of the image side)."""
    if kind == "plain":
        return 0.0
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    along = np.sin(75 * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    if kind == "stripes":
        return np.sign(along)
    across = np.sin(75 * (y * np.cos(angle) - x * np.sin(angle)) + phase)
    return np.where(along * across > 0.35, 1.0, -0.2) if kind == "dots" else along * across


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
    shade = 1 + 0.16 * _texture(thing.texture, x, y, rng)
    if look in ("photo", "night", "sepia"):
        # Lit from the upper left: a ramp from -1 to 1 over the object.
        shade = shade + 0.22 * ((thing.x - x + thing.y - y) / (2 * thing.radius)).clip(-1, 1)
    canvas[ys, xs] = colour * np.broadcast_to(shade, x.shape)[:, None]


def _edges(owner: np.ndarray, width: int) -> np.ndarray:
    """Pixels within `width` of a border between two objects or an object and the ground."""
    border = np.zeros(owner.shape, dtype=bool)
    border[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    border[1:] |= owner[1:] != owner[:-1]
    grown = Image.fromarray(border).convert("L").filter(ImageFilter.MaxFilter(2 * (width // 2) + 1))
    return np.asarray(grown) > 0


def _blur(canvas: np.ndarray, radius: float) -> np.ndarray:
    picture = Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(picture, dtype=np.float32)


def _photo(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return canvas * (1 + 0.08 * _cloud(len(canvas), 3, rng)[..., None])


def _watercolor(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pale pigment on paper, pooled unevenly and darker along the edge of each wash."""
    side = len(canvas)
    washed = _blur(canvas, side / 110)
    washed = 248 - (248 - washed) * (0.62 + 0.3 * _cloud(side, 9, rng)[..., None])
    washed[_edges(owner, max(side // 64, 1))] *= 0.86
    return _blur(washed, side / 190) + 5 * _cloud(side, 48, rng)[..., None]


def _comic(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Few flat, strong colours inside black outlines."""
    side = len(canvas)
    flat = (canvas / 64).round() * 64
    grey = flat.mean(axis=2, keepdims=True)
    flat = grey + 1.35 * (flat - grey)
    flat[_edges(owner, max(side // 48, 1))] = 15
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


def _sketch(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pencil on white paper: outlines, and hatching where the picture is dark."""
    side = len(canvas)
    y, x = np.mgrid[:side, :side] * 192 // side
    light = canvas @ _LUMA
    paper = 238 + 6 * _cloud(side, 30, rng)
    for along, limit in ((x + y, 140), (x - y, 95)):
        paper[(along % 9 < 3) & (light < limit) & (owner >= 0)] -= 70
    paper[((x + y) % 15 < 2) & (light < 130) & (owner < 0)] -= 40
    paper[_edges(owner, max(side // 64, 1))] = 60
    return paper[..., None].repeat(3, axis=2)


def _neon(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Outlines as glowing tubes of the colours that they part, all else nearly black."""
    side = len(canvas)
    dark = canvas * np.array([0.12, 0.08, 0.2]) + (8, 4, 18)
    pure = 255 * (canvas / canvas.max(axis=2, keepdims=True).clip(1)) ** 2.2
    tubes = np.where(_edges(owner, max(side // 64, 1))[..., None], pure, 0)
    return dark + tubes + 2.2 * _blur(tubes, side / 40)


def _mosaic(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Square tiles of one colour each, no two alike, in pale joints."""
    side = len(canvas)
    tile = max(side // 21, 2)
    count = -(-side // tile)
    centres = (np.arange(side) // tile * tile + tile // 2).clip(max=side - 1)
    glaze = 1 + 0.16 * rng.uniform(-1, 1, (count, count, 1)).repeat(tile, axis=0).repeat(tile, axis=1)
    tiles = canvas[centres][:, centres] * glaze[:side, :side]
    joints = np.arange(side) % tile == 0
    tiles[joints], tiles[:, joints] = 205, 205
    return tiles


def _sepia(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An old print: soft, brown, of little contrast, darker towards the corners, grainy."""
    side = len(canvas)
    y, x = np.mgrid[:side, :side] / side - 0.5
    light = (60 + 0.72 * (_blur(canvas, side / 160) @ _LUMA)) * (1 - 0.9 * (x**2 + y**2))
    return light[..., None] * np.array([1.08, 0.92, 0.68]) + rng.normal(0, 7, (side, side, 1))


_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_FINISH = {
    "photo": _photo,
    "watercolor": _watercolor,
    "comic": _comic,
    "night": _night,
    "sketch": _sketch,
    "neon": _neon,
    "mosaic": _mosaic,
    "sepia": _sepia,
}
