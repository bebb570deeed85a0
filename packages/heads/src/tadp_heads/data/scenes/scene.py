"""Scenes: a procedural data set with masks, boxes, depth and captions in several domains.

A scene is one to four flat objects standing on a textured ground, described by numbers alone; `render` turns it
into pixels of one domain, so the same scene can be had in every domain. It is a small-scale setting to try methods
on, no benchmark: what is measured on it says how the parts work together, not how well real weights see the world.
"""

from dataclasses import dataclass

import numpy as np

from tadp_heads.data.scenes.shapes import CLASSES

TRAINED_DOMAINS = ("photo", "watercolor", "comic", "night")
"""Those that the tiny models were trained on."""
UNSEEN_DOMAINS = ("sketch", "neon", "mosaic", "sepia")
"""Those that nothing shipped was trained on."""
SCENE_DOMAINS = (*TRAINED_DOMAINS, *UNSEEN_DOMAINS)
COLOURS = {
    "red": (205, 50, 45),
    "orange": (230, 130, 40),
    "yellow": (230, 205, 60),
    "green": (70, 150, 65),
    "blue": (55, 95, 195),
    "purple": (135, 70, 165),
    "pink": (235, 140, 170),
    "white": (235, 235, 230),
}
GROUNDS = {
    "grass": ((95, 135, 70), (130, 160, 95)),
    "sand": ((200, 175, 130), (175, 145, 100)),
    "stone": ((130, 130, 135), (165, 160, 155)),
    "water": ((90, 135, 160), (125, 165, 180)),
}
TEXTURES = ("plain", "stripes", "dots", "checks")
EDITION = 2
"""Of the data set: in the first, which is no longer drawn, a domain did not change what shapes look like."""
FAR_M, NEAR_M = 10.0, 2.0
"""Depth of the ground at the image's top and bottom row, metres."""

STYLE_TEMPLATES = {
    "photo": ("a photo of {caption}",),
    "watercolor": ("a watercolor painting of {caption}", "a watercolor style painting of {caption}"),
    "comic": ("a comic drawing of {caption}", "a comic style drawing of {caption}"),
    "night": ("a dark night photo of {caption}", "a photo of {caption} at night"),
    "sketch": ("a pencil sketch of {caption}", "a sketch of {caption}"),
    "neon": ("a neon sign of {caption}", "a neon drawing of {caption}"),
    "mosaic": ("a mosaic of {caption}", "a mosaic picture of {caption}"),
    "sepia": ("a sepia photo of {caption}", "an old sepia photo of {caption}"),
}


@dataclass(frozen=True, kw_only=True)
class SceneObject:
    """One object; lengths are fractions of the image side, x right, y down."""

    label: int
    """Index into CLASSES."""
    x: float
    y: float
    radius: float
    rotation: float
    """Radians, clockwise."""
    colour: str
    texture: str
    depth_m: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A scene without its domain; `objects` are ordered from far to near, the order in which they are painted."""

    seed: tuple[int, int]
    """(seed of the data set, index of the image): the stream from which all that is random in rendering is drawn."""
    ground: str
    objects: tuple[SceneObject, ...]


def sample_scene(seed: int, index: int) -> Scene:
    """Scene number `index` of the endless data set `seed`."""
    rng = np.random.default_rng([seed, index])
    count = int(rng.choice([1, 2, 3, 4], p=[0.2, 0.3, 0.3, 0.2]))
    objects: list[SceneObject] = []
    for _ in range(40):
        candidate = _sample_object(rng)
        if all(_apart(candidate, other) for other in objects):
            objects.append(candidate)
        if len(objects) == count:
            break
    objects.sort(key=lambda o: -o.depth_m)
    return Scene(seed=(seed, index), ground=str(rng.choice(list(GROUNDS))), objects=tuple(objects))


def _sample_object(rng: np.random.Generator) -> SceneObject:
    radius = float(rng.uniform(8, 14) / 64)
    x, y = rng.uniform(0.75 * radius, 1 - 0.75 * radius, size=2)
    bottom = min(y + radius, 1.0)
    return SceneObject(
        label=int(rng.integers(len(CLASSES))),
        x=float(x),
        y=float(y),
        radius=radius,
        rotation=float(rng.uniform(-0.45, 0.45)),
        colour=str(rng.choice(list(COLOURS))),
        texture=str(rng.choice(TEXTURES)),
        depth_m=float(FAR_M + (NEAR_M - FAR_M) * bottom),
    )


def _apart(a: SceneObject, b: SceneObject) -> bool:
    """Objects may hide a part of each other, never so much that the outline is lost."""
    return float(np.hypot(a.x - b.x, a.y - b.y)) > 0.77 * (a.radius + b.radius)


def class_names(scene: Scene) -> list[str]:
    """Names of the classes in the scene, each once, in label order (the oracle's prompt, paper Eq. 5)."""
    return [CLASSES[label] for label in sorted({o.label for o in scene.objects})]


def describe(scene: Scene, rng: np.random.Generator, any_order: bool = False) -> str:
    """A true caption without the domain: "a small red circle, two stars and a moon on sand".

    Objects are named from left to right, or with `any_order` as they come.
    """
    objects = sorted(scene.objects, key=lambda o: o.x)
    if any_order:
        objects = [scene.objects[int(place)] for place in rng.permutation(len(scene.objects))]
    groups: dict[int, list[SceneObject]] = {}
    for thing in objects:
        groups.setdefault(thing.label, []).append(thing)
    phrases = [_phrase(members, rng) for members in groups.values()]
    text = phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
    return f"{text} on {scene.ground}" if rng.random() < 0.5 else text


def _phrase(members: list[SceneObject], rng: np.random.Generator) -> str:
    name = CLASSES[members[0].label]
    if len(members) > 1:
        return f"{('two', 'three', 'four')[len(members) - 2]} {name}s"
    words = [name]
    if rng.random() < 0.5:
        words.insert(0, members[0].colour)
    size = members[0].radius * 64
    if rng.random() < 0.3 and not 9.5 <= size <= 12.5:
        words.insert(0, "small" if size < 9.5 else "big")
    article = "an" if words[0][0] in "aeiou" else "a"
    return " ".join([article, *words])


def caption(scene: Scene, domain: str, rng: np.random.Generator, any_order: bool = False) -> str:
    """A true caption as on the web: images of a domain name it in 85 % of the cases, photos in 10 %."""
    return in_domain(describe(scene, rng, any_order), domain, rng)


def in_domain(text: str, domain: str, rng: np.random.Generator) -> str:
    """`text` in one of the domain's templates, or (photos mostly, others sometimes) as it is."""
    if rng.random() >= (0.10 if domain == "photo" else 0.85):
        return text
    templates = STYLE_TEMPLATES[domain]
    return templates[int(rng.integers(len(templates)))].format(caption=text)
