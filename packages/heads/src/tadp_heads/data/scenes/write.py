"""Writes Scenes to disk in the layouts of a user's own data, so that they are read back like any other folder."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from tadp_heads.atomic_files import write_text
from tadp_heads.data.scenes.render import BACKGROUND, Rendering, render
from tadp_heads.data.scenes.scene import EDITION, SCENE_DOMAINS, caption, describe, sample_scene
from tadp_heads.data.scenes.shapes import CLASSES

SEGMENTATION_CLASSES = ("background", *CLASSES)
LAYOUTS = {"segmentation": "images", "depth": "images", "detection": "JPEGImages"}
"""{task: the folder that holds the images}."""


def write_scenes(
    root: Path,
    *,
    task: str,
    domain: str,
    split: str,
    count: int,
    seed: int,
    first: int = 0,
    size: int = 64,
) -> None:
    """Scenes `first` to `first + count - 1` of `seed` in one domain, as `split` of the data set in `root`.

    Several domains, such as "photo+night", are taken in turn: scene i is in domain i modulo their number.

    captions_true_SPLIT.jsonl has one true caption per image ("caption" as one would say it, with the domain, and
    "plain" without it), which no command reads unless it is named. Several splits may share a
    root. A split that is there completely is left alone; scenes_SPLIT.json, which says what the images are, and the
    split file are written last.
    """
    if task not in LAYOUTS:
        raise ValueError(f"unknown task {task!r}; choose from {', '.join(LAYOUTS)}")
    domains = domain.split("+")
    for name in domains:
        if name not in SCENE_DOMAINS:
            raise ValueError(f"unknown domain {name!r}; choose from {', '.join(SCENE_DOMAINS)}")
    names = [f"{split}_{index:05d}" for index in range(first, first + count)]
    listed = split_file(root, task, split)
    identity = {"task": task, "look": domain, "count": count, "seed": seed, "first": first, "size": size}
    identity["edition"] = EDITION
    identity_file = root / f"scenes_{split}.json"
    known = json.loads(identity_file.read_text(encoding="utf-8")) if identity_file.is_file() else None
    if listed.is_file() and known == identity:
        return
    for file in (listed, identity_file):
        file.unlink(missing_ok=True)
    for folder in (root / LAYOUTS[task], listed.parent, root / _TARGET_FOLDERS[task]):
        folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for name, index in zip(names, range(first, first + count), strict=True):
        scene, own_domain = sample_scene(seed, index), domains[index % len(domains)]
        rendering = render(scene, own_domain, size)
        Image.fromarray(rendering.image).save(root / LAYOUTS[task] / f"{name}.png")
        _WRITERS[task](root, name, rendering)
        words = [np.random.default_rng([seed, index, 99]) for _ in range(2)]
        row = {"id": name, "caption": caption(scene, own_domain, words[0]), "captioner": "scenes"}
        lines.append(json.dumps({**row, "params": "true", "source": own_domain, "plain": describe(scene, words[1])}))
    write_text(root / f"captions_true_{split}.jsonl", "\n".join(lines) + "\n")
    if task != "depth":
        names_of_classes = SEGMENTATION_CLASSES if task == "segmentation" else CLASSES
        write_text(root / "classes.txt", "\n".join(names_of_classes) + "\n")
    write_text(identity_file, json.dumps(identity) + "\n")
    write_text(listed, "\n".join(names) + "\n")


def split_file(root: Path, task: str, split: str) -> Path:
    """The list of a split's images, which is written last: where it is, the split is there completely."""
    return root / ("ImageSets/Main" if task == "detection" else "") / f"{split}.txt"


def _write_mask(root: Path, name: str, rendering: Rendering) -> None:
    """The ground is class 0, as in Pascal VOC; the objects follow."""
    mask = np.where(rendering.mask == BACKGROUND, 0, rendering.mask + 1).astype(np.uint8)
    Image.fromarray(mask).save(root / "masks" / f"{name}.png")


def _write_depth(root: Path, name: str, rendering: Rendering) -> None:
    millimetres = (rendering.depth * 1000).round().astype(np.uint16)
    Image.fromarray(millimetres).save(root / "depth" / f"{name}.png")


def _write_annotation(root: Path, name: str, rendering: Rendering) -> None:
    """VOC's XML: pixels count from 1 and a box includes its last one."""
    tree = ElementTree.Element("annotation")
    ElementTree.SubElement(tree, "filename").text = f"{name}.png"
    extent = ElementTree.SubElement(tree, "size")
    for key, value in zip(("width", "height", "depth"), (*rendering.mask.shape[::-1], 3), strict=True):
        ElementTree.SubElement(extent, key).text = str(value)
    for label, (left, top, right, bottom) in zip(rendering.labels, rendering.boxes, strict=True):
        item = ElementTree.SubElement(tree, "object")
        ElementTree.SubElement(item, "name").text = CLASSES[label]
        ElementTree.SubElement(item, "difficult").text = "0"
        box = ElementTree.SubElement(item, "bndbox")
        for key, value in (("xmin", left + 1), ("ymin", top + 1), ("xmax", right), ("ymax", bottom)):
            ElementTree.SubElement(box, key).text = str(value)
    ElementTree.ElementTree(tree).write(root / "Annotations" / f"{name}.xml", encoding="utf-8")


_TARGET_FOLDERS = {"segmentation": "masks", "depth": "depth", "detection": "Annotations"}
_WRITERS = {"segmentation": _write_mask, "depth": _write_depth, "detection": _write_annotation}
