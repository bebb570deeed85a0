"""Draws docs/scenes.png: the same scenes in every domain, and each class alone in the domains of training.

python benchmarks/scenes_figure.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import ALL_LOOKS, LOOKS, Scene, SceneObject, sample_scene
from tadp_heads.data.scenes.shapes import CLASSES

FILE = Path(__file__).parents[1] / "docs" / "scenes.png"
SEED = 102


def main() -> None:
    scenes = [sample_scene(SEED, index) for index in (0, 3, 6)]
    figure = plt.figure(figsize=(11, 7.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 3))
    for row, scene in zip(above.subplots(len(scenes), len(ALL_LOOKS)), scenes, strict=True):
        for axes, domain in zip(row, ALL_LOOKS, strict=True):
            _show(axes, scene, domain, title=domain if scene is scenes[0] else "")
    above.suptitle("The same scenes in the four domains of training, and in four that nothing was trained on")
    for row, domain in zip(below.subplots(len(LOOKS), len(CLASSES)), LOOKS, strict=True):
        for axes, name in zip(row, CLASSES, strict=True):
            _show(axes, _alone(name), domain, title=name if domain == LOOKS[0] else "")
        row[0].set_ylabel(domain, fontsize=9)
    below.suptitle("Each class alone: a comic's circle looks like a photo's ring, a watercolor's hexagon like a circle")
    figure.savefig(FILE, dpi=110)


def _alone(name: str) -> Scene:
    """One red object on sand."""
    thing = SceneObject(
        label=CLASSES.index(name),
        x=0.5,
        y=0.5,
        radius=0.3,
        rotation=0.1,
        colour="red",
        texture="plain",
        depth_m=4.0,
    )
    return Scene(seed=(SEED, 0), ground="sand", objects=(thing,))


def _show(axes: Axes, scene: Scene, domain: str, title: str) -> None:
    axes.imshow(render(scene, domain).image)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)


if __name__ == "__main__":
    main()
