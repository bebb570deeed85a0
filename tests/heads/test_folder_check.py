"""The check of depth and detection folders reports all problems at once, one line each."""

import json
import os
import time

import numpy as np
import pytest
import torch
from PIL import Image

from tadp_heads.data.check.folder import check_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.depth import write_depth_npy, write_depth_png
from tadp_heads.registry import TASKS


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (10, 200, 30)).save(path)


def annotate(root, name, label="dog", box=(1, 1, 10, 10)):
    edges = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    text = f"<annotation><object><name>{label}</name><bndbox>{edges}</bndbox></object></annotation>"
    (root / "Annotations" / f"{name}.xml").write_text(text)


@pytest.fixture
def voc(tmp_path):
    for folder in ("Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("a", "b", "c"):
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
        annotate(tmp_path, name)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("a\nb\n")
    (tmp_path / "ImageSets" / "Main" / "trainval.txt").write_text("a\nb\nc\n")
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("c\n")
    (tmp_path / "ImageSets" / "Main" / "dog_val.txt").write_text("c 1\nz -1\n")
    return tmp_path


def test_a_good_folder_of_boxes(voc):
    (report,) = check_folder(voc)
    assert report.ok
    assert (report.images, report.histogram, report.sizes) == (3, {"dog": 3}, {(40, 30): 3})
    assert report.warnings == ()


VOC = {
    "image missing": (lambda r: (r / "JPEGImages/a.jpg").unlink(), "a.xml: found no image of its name"),
    "image unreadable": (lambda r: (r / "JPEGImages/a.jpg").write_text("x"), "a.jpg: found no image data"),
    "empty box": (lambda r: annotate(r, "a", box=(5, 5, 4, 9)), "a.xml: found box"),
    "box outside": (lambda r: annotate(r, "a", box=(5, 5, 90, 9)), "inside the 40x30 image"),
    "box without numbers": (lambda r: annotate(r, "a", box=("left", 5, 9, 9)), "numbers xmin, ymin, xmax, ymax"),
    "unknown class": (
        lambda r: (r / "classes.txt").write_text("cat\n"),
        "of class 'dog', expected one of cat",
    ),
    "broken XML": (lambda r: (r / "Annotations/a.xml").write_text("<annotation>"), "no valid XML"),
    "unknown id in a split": (lambda r: (r / "ImageSets/Main/val.txt").write_text("z\n"), "found id 'z' and 0 more"),
    "id twice in a split": (lambda r: (r / "ImageSets/Main/val.txt").write_text("c\nc\n"), "'c' more than once"),
    "id in two splits": (lambda r: (r / "ImageSets/Main/val.txt").write_text("c\na\n"), "also in val.txt, such as 'a'"),
    "test image in trainval": (
        lambda r: (r / "ImageSets/Main/test.txt").write_text("c\n"),
        "test.txt: found 1 ids that are also in trainval.txt, such as 'c'",
    ),
    "no images": (lambda r: (r / "JPEGImages").rename(r / "pictures"), "JPEGImages: found no folder"),
}


@pytest.mark.parametrize("kind", VOC)
def test_malformed_boxes(voc, kind):
    spoil, message = VOC[kind]
    spoil(voc)
    (report,) = check_folder(voc)
    assert not report.ok
    assert any(message in line for line in report.problems), report.problems
    assert all("\n" not in line for line in report.problems)


def test_coco_splits_are_checked_one_by_one(tmp_path):
    content = {
        "images": [{"id": 1, "file_name": "x.jpg"}],
        "annotations": [{"id": 7, "image_id": 1, "category_id": 3, "bbox": [1, 2, 0, 6]}],
        "categories": [{"id": 3, "name": "dog"}],
    }
    for split in ("train", "val"):
        picture(tmp_path / split / "x.jpg")
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    (tmp_path / "annotations" / "instances_val.json").write_text("{")
    train, val = check_folder(tmp_path, "detection")
    assert train.ok
    assert any("1 empty boxes" in line for line in train.warnings)
    assert any("never occur: dog" in line for line in train.warnings)
    assert "no valid JSON" in val.problems[0]


@pytest.fixture
def depth(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / "images" / f"{name}.jpg")
        (tmp_path / "depth").mkdir(exist_ok=True)
        write_depth_png(tmp_path / "depth" / f"{name}.png", torch.linspace(0.5, 4, 1200).reshape(30, 40))
    (tmp_path / "train.txt").write_text("a\n")
    return tmp_path


def millimetres_in_npy(root):
    (root / "depth" / "a.png").unlink()
    write_depth_npy(root / "depth" / "a.npy", torch.full((30, 40), 2500.0))


DEPTH = {
    "map missing": (lambda r: (r / "depth/a.png").unlink(), "a.jpg: found no depth map of its name"),
    "image missing": (lambda r: (r / "images/a.jpg").unlink(), "a.png: found no image of its name"),
    "mm as metres": (millimetres_in_npy, "a.npy: found depths up to 2500 m"),
    "metres as mm": (
        lambda r: write_depth_png(r / "depth/a.png", torch.full((30, 40), 0.004)),
        "up to 0.004 m",
    ),
    "no value anywhere": (lambda r: write_depth_png(r / "depth/a.png", torch.zeros(30, 40)), "found no depth at all"),
    "another size": (
        lambda r: write_depth_png(r / "depth/a.png", torch.ones(3, 4)),
        "4x3 pixels, expected 40x30",
    ),
    "8 bits": (lambda r: Image.new("L", (40, 30)).save(r / "depth/a.png"), "mode L, expected a 16-bit"),
    "unknown id": (lambda r: (r / "train.txt").write_text("q\n"), "found id 'q'"),
}


@pytest.mark.parametrize("kind", DEPTH)
def test_malformed_depth(depth, kind):
    spoil, message = DEPTH[kind]
    (before,) = check_folder(depth)
    assert before.ok
    np.testing.assert_allclose(before.depth_range_m, (0.5, 4.0), atol=1e-3)
    spoil(depth)
    (report,) = check_folder(depth)
    assert any(message in line for line in report.problems), report.problems
    assert all("\n" not in line for line in report.problems)


@pytest.mark.parametrize(
    "task", [name if name == "detection" else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
def test_a_thousand_images_take_seconds(tmp_path, task):
    """Every file is opened and decoded: 120x120 pixels an image, and as much of masks or depth."""
    write_scenes(tmp_path, task=task, domain="photo", split="train", count=1, seed=0, size=120)
    for original in [path for path in tmp_path.rglob("*train_00000.*") if path.is_file()]:
        for number in range(1, 1000):
            os.link(original, original.with_stem(f"train_{number:05d}"))
    began = time.process_time()  # what else the machine does is no matter
    (report,) = check_folder(tmp_path)
    assert time.process_time() - began < 15
    assert (report.ok, report.images, report.sizes) == (True, 1000, {(120, 120): 1000})
