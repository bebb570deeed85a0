"""How the domains of Scenes are drawn: a domain changes where an object's colour is laid, as its medium does.

So the same pixels can mean different classes in different domains, and only the domain resolves which:

- photo: the silhouette is filled, textured and shaded; exposure and haze vary, so that colours do not separate a dark
  photo from a night, or a pale one from a watercolor.
- comic: wide silhouettes are drawn as outlines with the ground showing inside (a circle looks like a photo's ring),
  holes are filled with ink (a ring looks like a disc).
- watercolor: corners are rounded (a hexagon looks like a photo's circle), and soft edges of neighbours run together.
- night: fills are hidden, and only the edges that face a lamp are lit (a circle looks like a photo's moon).

The four unseen domains are a finish over filled silhouettes.
"""

import numpy as np
from PIL import Image, ImageFilter

from tadp_heads.data.scenes.raster import UNSEEN_FINISHES, cloud, edges, ground, polygon, texture
from tadp_heads.data.scenes.scene import COLOURS, Scene, SceneObject
from tadp_heads.data.scenes.shapes import CLASSES, HOLES

SUPERSAMPLING = 2


def draw(
    scene: Scene, domain: str, silhouettes: list[np.ndarray], owner: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """silhouettes: (S, S) bool per object. owner (S, S): index of the object seen, -1 for the ground. -> (S, S, 3)."""
    canvas = ground(scene.ground, domain, len(owner), rng)
    if domain == "night":
        canvas *= rng.uniform(0.25, 0.5)
    elif domain == "comic":  # two flat tones, not far apart
        canvas += 0.5 * (canvas.mean(axis=(0, 1)) - canvas)
    lamp = rng.uniform(0.15, 0.85, 2)  # x, y of the light at night
    for thing, silhouette in zip(scene.objects, silhouettes, strict=True):
        _paint(canvas, thing, silhouette, domain, lamp, rng)
    return _FINISHES[domain](canvas, owner, rng)


def _paint(
    canvas: np.ndarray,
    thing: SceneObject,
    silhouette: np.ndarray,
    domain: str,
    lamp: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Lays the object's colour on `canvas` (side, side, 3), in place."""
    side = len(canvas)
    colour = np.array(COLOURS[thing.colour]) + rng.uniform(-18, 18, 3)
    if domain not in ("comic", "watercolor"):
        _shadow(canvas, silhouette)
    near = _surroundings(thing, side)
    y, x = (grid / side for grid in np.mgrid[near])
    shade = 1 + 0.12 * texture(thing.texture, x, y, rng)
    if domain in ("photo", "sepia"):
        # Lit from the upper left: a ramp from -1 to 1 over the object.
        shade = shade + 0.22 * ((thing.x - x + thing.y - y) / (2 * thing.radius)).clip(-1, 1)
    paint = colour * np.broadcast_to(shade, x.shape)[..., None]
    cover = _COVER.get(domain, _filled)(silhouette[near], thing.radius * side, (x - lamp[0], y - lamp[1]))
    canvas[near] += cover[..., None] * (paint - canvas[near])
    if domain == "comic" and CLASSES[thing.label] in HOLES:
        canvas[polygon(HOLES[CLASSES[thing.label]], thing, side)] = 0.3 * colour


def _surroundings(thing: SceneObject, side: int) -> tuple[slice, slice]:
    """Rows and columns that hold the object and what its blurred border reaches."""
    reach = 1.5 * thing.radius

    def around(centre: float) -> slice:
        return slice(max(int((centre - reach) * side), 0), min(int((centre + reach) * side) + 2, side))

    return around(thing.y), around(thing.x)


def _shadow(canvas: np.ndarray, silhouette: np.ndarray) -> None:
    """Darkens what lies to the lower right of the object."""
    offset = len(canvas) // 40
    shadow = np.zeros_like(silhouette)
    shadow[offset:, offset:] = silhouette[:-offset, :-offset]
    canvas[shadow & ~silhouette] *= 0.72


# How much of each pixel an object's colour covers: from the silhouette (h, w), the radius in pixels and the pixels'
# position relative to the lamp (two (h, w), x and y) to (h, w) in [0, 1].


def _filled(silhouette: np.ndarray, radius: float, lamp: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return silhouette.astype(np.float32)


def _outlined(silhouette: np.ndarray, radius: float, lamp: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """A band along the border, nearly as wide as a ring's; what is narrower than two bands stays filled."""
    return (silhouette & (_soft(silhouette, 0.3 * radius) < 0.86)).astype(np.float32)


def _washed(silhouette: np.ndarray, radius: float, lamp: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Rounded, with an edge that fades over a fifth of the radius, where neighbours' colours mix."""
    return ((_soft(silhouette, 0.2 * radius) - 0.5) / 0.45 + 0.5).clip(0, 1)


def _lit(silhouette: np.ndarray, radius: float, lamp: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Bright where the border faces the lamp, an eighth elsewhere."""
    down, right = np.gradient(_soft(silhouette, 0.2 * radius))  # points inwards
    x, y = lamp
    facing = (right * x + down * y) / np.hypot(x, y).clip(1e-3) * radius
    return np.where(silhouette, (0.12 + 0.75 * facing).clip(0.12, 1), 0).astype(np.float32)


def _soft(silhouette: np.ndarray, radius: float) -> np.ndarray:
    """The silhouette blurred by a Gaussian, in [0, 1]."""
    image = Image.fromarray(silhouette.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, dtype=np.float32) / 255


_COVER = {"comic": _outlined, "watercolor": _washed, "night": _lit}


def _photo(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Uneven light, and an exposure and a haze that differ between images."""
    exposed = canvas * rng.uniform(0.5, 1.1) * (1 + 0.08 * cloud(len(canvas), 3, rng)[..., None])
    return exposed + rng.uniform(0, 0.3) * (215 - exposed)


def _watercolor(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pale pigment on paper, pooled unevenly."""
    side = len(canvas)
    strength = rng.uniform(0.55, 0.9) + 0.2 * cloud(side, 9, rng)[..., None]
    return 248 - (248 - canvas) * strength + 3 * cloud(side, 32, rng)[..., None]


def _comic(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stronger colours, more or less so, and an ink line along borders."""
    grey = canvas.mean(axis=2, keepdims=True)
    strong = grey + rng.uniform(0.9, 1.25) * (canvas - grey)
    strong[edges(owner, 1)] *= rng.uniform(0.55, 0.85)
    return strong


def _night(canvas: np.ndarray, owner: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bluish light and grain."""
    side = len(canvas)
    tint = np.array([0.8, 0.88, 1.1], dtype=np.float32) * (1 + 0.15 * cloud(side, 3, rng)[..., None])
    return canvas * tint + rng.normal(0, 6, (side, side, 1)).astype(np.float32)


_FINISHES = {"photo": _photo, "watercolor": _watercolor, "comic": _comic, "night": _night, **UNSEEN_FINISHES}
