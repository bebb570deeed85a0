"""Each data set of the registry in the layout in which it is downloaded, an image or two of every split."""

import json
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from PIL import Image

from tadp_heads.depth import write_depth_png

Size = tuple[int, int]
SIZE: Size = (24, 16)
"""(width, height) in pixels, where a test does not need the data set's own."""
COCO_NAMES = ("person", "airplane", "dining table", "potted plant", "tv", "couch", "motorcycle", "zebra")


def picture(path: Path, size: Size = SIZE) -> None:
    """Blotches, others for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blotches = np.random.default_rng(crc32(path.name.encode())).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC).save(path)


def mask(path: Path, *ids: int, size: Size = SIZE) -> None:
    """The ids in columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = np.array(ids, np.uint8)[np.arange(size[0]) * len(ids) // size[0]]
    Image.fromarray(np.tile(columns, (size[1], 1))).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def voc_boxes(root, split, image_id, name="person", size=SIZE):
    picture(root / "JPEGImages" / f"{image_id}.jpg", size)
    thing = f"<name>{name}</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax><ymax>12</ymax></bndbox>"
    text(root / "Annotations" / f"{image_id}.xml", f"<annotation><object>{thing}</object></annotation>")
    text(root / "ImageSets" / "Main" / f"{split}.txt", f"{image_id}\n")


def voc_segmentation(root, split, size=SIZE):
    inner = root / "VOCdevkit" / "VOC2012"
    picture(inner / "JPEGImages" / "2007_000032.jpg", size)
    folder = "SegmentationClassAug" if split == "trainaug" else "SegmentationClass"
    mask(inner / folder / "2007_000032.png", 0, 20, 255, size=size)
    text(inner / "ImageSets" / "Segmentation" / f"{split}.txt", "2007_000032\n")


def ade20k(root, split, size=SIZE):
    long = {"train": "training", "val": "validation"}[split]
    picture(root / "ADEChallengeData2016" / "images" / long / "ADE_1.jpg", size)
    mask(root / "ADEChallengeData2016" / "annotations" / long / "ADE_1.png", 0, 1, 150, size=size)
    rows = [f"{i}\t0.1\t{i}\t2\tthing {i}, synonym" for i in range(1, 151)]
    text(root / "ADEChallengeData2016" / "objectInfo150.txt", "\n".join(["Idx\tRatio\tTrain\tVal\tName", *rows]))


def driving(images, labels, ending, label_ending):
    def write(root, split, size=SIZE):
        picture(root / images / split / "seq" / f"{split[:2]}1_{ending}.png", size)
        mask(root / labels / split / "seq" / f"{split[:2]}1_{label_ending}TrainIds.png", 0, 18, 255, size=size)

    return write


def acdc(root, split, size=SIZE):
    weathers = [split] if "/" in split else [f"{weather}/{split}" for weather in ("fog", "night", "rain", "snow")]
    for part in weathers:
        driving("rgb_anon", "gt", "rgb_anon", "gt_label")(root, part, size)


def bdd100k(root, split, size=SIZE):
    for name, ids in (("a1-b1", (0, 18, 255)), ("c2-d2", (1, 2))):
        picture(root / "images" / "10k" / split / f"{name}.jpg", size)
        mask(root / "labels" / "sem_seg" / "masks" / split / f"{name}.png", *ids, size=size)


def bdd100k_night(root, split, size=SIZE):
    """Of two images one is by night; the other, which is not read, has no mask."""
    bdd100k(root, split, size)
    (root / "labels" / "sem_seg" / "masks" / split / "c2-d2.png").unlink()
    frames = [{"name": f"{name}.jpg", "attributes": {"timeofday": t}} for name, t in (("a1-b1", "night"), ("x", "day"))]
    text(root / "labels" / "det_20" / f"det_{split}.json", json.dumps(frames))


def nyu(root, split, size=SIZE):
    scene = root / {"train": "sync", "test": "official_splits/test"}[split] / "bathroom"
    picture(scene / "rgb_00045.jpg", size)
    write_depth_png(scene / "sync_depth_00045.png", torch.full(size[::-1], 2.5))


def voc0712(root, split, size=SIZE):
    for year, image_id in (("VOC2007", "000005"), ("VOC2012", "2007_000032")):
        voc_boxes(root / "VOCdevkit" / year, split, image_id, size=size)


def boxes_in(folder, image_id):
    def write(root, split, size=SIZE):
        voc_boxes(root / folder, split, image_id, size=size)

    return write


def coco(root, split, size=SIZE):
    picture(root / split / "000000000139.jpg", size)
    categories = [{"id": 3 * i + 1, "name": name} for i, name in enumerate(COCO_NAMES)]
    boxes = [
        {"id": i, "image_id": 139, "category_id": c["id"], "bbox": [1, 2, 5 + i, 6], "iscrowd": 0}
        for i, c in enumerate(categories)
    ]
    content = {"images": [{"id": 139, "file_name": "000000000139.jpg"}], "annotations": boxes, "categories": categories}
    text(root / "annotations" / f"instances_{split}.json", json.dumps(content))


LAYOUTS = {
    "voc2012": voc_segmentation,
    "ade20k": ade20k,
    "cityscapes": driving("leftImg8bit", "gtFine", "leftImg8bit", "gtFine_label"),
    "dark-zurich": driving("rgb_anon", "gt", "rgb_anon", "gt_label"),
    "nighttime-driving": driving("leftImg8bit", "gtCoarse_daytime_trainvaltest", "leftImg8bit", "gtCoarse_label"),
    "acdc": acdc,
    "bdd100k": bdd100k,
    "bdd100k-night": bdd100k_night,
    "nyuv2": nyu,
    "voc2007-boxes": boxes_in("VOCdevkit/VOC2007", "000005"),
    "voc2012-boxes": boxes_in("VOCdevkit/VOC2012", "2007_000032"),
    "voc0712-boxes": voc0712,
    "voc0712-boxes-xml": voc0712,
    "watercolor2k": boxes_in("watercolor", "43248445"),
    "comic2k": boxes_in("comic", "43248445"),
    "clipart1k": boxes_in("clipart", "43248445"),
    "coco": coco,
}
"""{data set: (root, split, size) -> None, writing that split}"""
