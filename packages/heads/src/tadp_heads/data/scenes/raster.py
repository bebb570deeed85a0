"""What the renderers of Scenes draw with: polygons, noise, textures, borders; and the finish of the unseen domains."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tadp_heads.data.scenes.scene import GROUNDS, SceneObject

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def polygon(points: np.ndarray, thing: SceneObject, side: int) -> np.ndarray:
    """Pixels (side, side), bool, of a polygon (N, 2) in the unit disc when placed as `thing`."""
    turn = np.array(
        [[np.cos(thing.rotation), -np.sin(thing.rotation)], [np.sin(thing.rotation), np.cos(thing.rotation)]]
    )
    placed = (points @ turn.T * thing.radius + (thing.x, thing.y)) * side
    drawing = Image.new("L", (side, side))
    ImageDraw.Draw(drawing).polygon([tuple(p) for p in placed], fill=1)
    return np.asarray(drawing, dtype=bool)


def cloud(side: int, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise in about [-1, 1], (side, side), with blobs of side / cells pixels."""
    grid = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC))


def ground(name: str, domain: str, side: int, rng: np.random.Generator) -> np.ndarray:
    first, second = (np.array(colour, dtype=np.float32) for colour in GROUNDS[name])
    mix = 0.5 + 0.35 * cloud(side, 5, rng)
    mix = (mix > 0.5).astype(np.float32) if domain == "comic" else mix + 0.25 * cloud(side, 20, rng)
    return first + (second - first) * mix[..., None].clip(0, 1)


def texture(kind: str, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray | float:
    """Brightness pattern in [-1, 1] at the places x, y (fractions of the image side)."""
    if kind == "plain":
        return 0.0
    angle, phase = rng.uniform(0, np.pi), rng.uniform(0, 2 * np.pi)
    along = np.sin(75 * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    if kind == "stripes":
        return np.sign(along)
    across = np.sin(75 * (y * np.cos(angle) - x * np.sin(angle)) + phase)
    return np.where(along * across > 0.35, 1.0, -0.2) if kind == "dots" else along * across


def edges(owner: np.ndarray, width: int) -> np.ndarray:
    """Pixels within `width` of a border between two objects or an object and the ground."""
    border = np.zeros(owner.shape, dtype=bool)
    border[:, 1:] |= owner[:, 1:] != owner[:, :-1]
    border[1:] |= owner[1:] != owner[:-1]
    if width < 2:  # a filter of one pixel changes nothing, and stops the process in Pillow 12.3
        return border
    grown = Image.fromarray(border).convert("L").filter(ImageFilter.MaxFilter(2 * (width // 2) + 1))
    return np.asarray(grown) > 0


def blur(canvas: np.ndarray, radius: float) -> np.ndarray:
    blurred = Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(blurred, dtype=np.float32)


def _sketch(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pencil on white paper: outlines, and hatching where the image is dark."""
    side = len(canvas)
    y, x = np.mgrid[:side, :side] * 192 // side
    light = canvas @ _LUMA
    paper = 238 + 6 * cloud(side, 30, rng)
    for along, limit in ((x + y, 140), (x - y, 95)):
        paper[(along % 9 < 3) & (light < limit) & (owner >= 0)] -= 70
    paper[((x + y) % 15 < 2) & (light < 130) & (owner < 0)] -= 40
    paper[edges(owner, max(side // 64, 1))] = 60
    return paper[..., None].repeat(3, axis=2)


def _neon(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Outlines as glowing tubes of the colours that they part, all else nearly black."""
    side = len(canvas)
    dark = canvas * np.array([0.12, 0.08, 0.2]) + (8, 4, 18)
    pure = 255 * (canvas / canvas.max(axis=2, keepdims=True).clip(1)) ** 2.2
    tubes = np.where(edges(owner, max(side // 64, 1))[..., None], pure, 0)
    return dark + tubes + 2.2 * blur(tubes, side / 40)


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
    light = (60 + 0.72 * (blur(canvas, side / 160) @ _LUMA)) * (1 - 0.9 * (x**2 + y**2))
    return light[..., None] * np.array([1.08, 0.92, 0.68]) + rng.normal(0, 7, (side, side, 1))


UNSEEN_FINISHES = {"sketch": _sketch, "neon": _neon, "mosaic": _mosaic, "sepia": _sepia}
"""{domain: finish}, where finish(canvas (S, S, 3), owner (S, S), rng) gives the canvas in that domain."""
