"""Draws the figures of README and docs anew.

    python benchmarks/figures.py [scenes overview analyses]

scenes: the same scenes in every domain, and each class alone in the domains of training. overview: that of the demo in
runs/demo, which is run as far as it is not there yet. analyses: those of `benchmarks/analyses.py` in runs/analyses.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from tadp_cli.console.progress import bars
from tadp_cli.experiments.analyses.setting import Setting
from tadp_cli.experiments.analyze import run_analysis
from tadp_cli.experiments.demo import QUICK, run_demo
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import SCENE_DOMAINS, TRAINED_DOMAINS, Scene, SceneObject, sample_scene
from tadp_heads.data.scenes.shapes import CLASSES

DOCS = Path(__file__).parents[1] / "docs"
SEED = 102
ANALYSES = ("attention", "copy-paste", "off-target")
"""Those whose figures docs/analyses.md shows."""


def main(names: list[str]) -> int:
    for name in names or FIGURES:
        if name not in FIGURES:
            print(f"unknown figure {name!r}; choose from {', '.join(FIGURES)}", file=sys.stderr)
            return 2
        FIGURES[name]()
    return 0


def overview() -> None:
    """docs/overview.png."""
    with bars() as report:
        run_demo(Path("runs/demo"), QUICK, device="cpu", seed=0, report=report)
    shutil.copy("runs/demo/overview.png", DOCS / "overview.png")


def analyses() -> None:
    """docs/analyses/*.png."""
    for name in ANALYSES:
        with bars() as report:
            run_analysis(name, Setting(out=Path("runs/analyses"), report=report))
        shutil.copy(f"runs/analyses/{name}.png", DOCS / "analyses" / f"{name}.png")


def scenes_in_domains() -> None:
    """docs/scenes.png."""
    scenes = [sample_scene(SEED, index) for index in (0, 3, 6)]
    figure = plt.figure(figsize=(11, 7.2), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 3))
    for row, scene in zip(above.subplots(len(scenes), len(SCENE_DOMAINS)), scenes, strict=True):
        for axes, domain in zip(row, SCENE_DOMAINS, strict=True):
            _show(axes, scene, domain, title=domain if scene is scenes[0] else "")
    above.suptitle("The same scenes in the four domains of training, and in four that nothing was trained on")
    for row, domain in zip(below.subplots(len(TRAINED_DOMAINS), len(CLASSES)), TRAINED_DOMAINS, strict=True):
        for axes, name in zip(row, CLASSES, strict=True):
            _show(axes, _alone(name), domain, title=name if domain == TRAINED_DOMAINS[0] else "")
        row[0].set_ylabel(domain, fontsize=9)
    below.suptitle("Each class alone: a comic's circle looks like a photo's ring, a watercolor's hexagon like a circle")
    figure.savefig(DOCS / "scenes.png", dpi=110)


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


FIGURES: dict[str, Callable[[], None]] = {
    "scenes": scenes_in_domains,
    "overview": overview,
    "analyses": analyses,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
