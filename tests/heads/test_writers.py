"""Predictions as polygons and boxes of annotation tools: read again, they are the masks that were predicted."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from official_layouts import picture
from PIL import Image

from tadp_heads.data.annotations.rasterize import fill_ring
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.sample import default_palette
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import sample_scene
from tadp_heads.results import DetectionResult, SegmentationResult
from tadp_heads.writers.formats import WRITERS
from tadp_heads.writers.objects import PredictedImage, objects_of
from tadp_heads.writers.polygons import DEFAULT_TOLERANCE, keyhole, outlines

CLASSES = ("background", "car", "low wall")


def blobs(seed, size=(90, 70), scale=9):
    """(H, W) ids of two classes in irregular regions with holes."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(3, size[1] // scale, size[0] // scale))
    fields = [Image.fromarray(one.astype(np.float32)).resize(size, Image.Resampling.BICUBIC) for one in noise]
    return np.argmax([np.asarray(field) for field in fields], 0)


def refilled(mask, tolerance):
    rings = [keyhole(outline) for outline in outlines(mask, tolerance)]
    filled = np.zeros(mask.shape, bool)
    for ring in rings:
        filled |= fill_ring(ring, *mask.shape)
    return filled


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.mark.parametrize("seed", range(4))
def test_outlines_of_any_mask_give_it_back(seed):
    mask = blobs(seed) == 1
    np.testing.assert_array_equal(refilled(mask, 0), mask)
    np.testing.assert_array_equal(refilled(mask, DEFAULT_TOLERANCE), mask, "no centre lies so near to an outline")
    assert iou(refilled(mask, 0.6), mask) >= 0.98
    points = [sum(len(keyhole(outline)) for outline in outlines(mask, tolerance)) for tolerance in (0, 0.35, 1)]
    assert points[0] > points[1] > 2 * points[2]


def test_single_pixels_diagonals_and_noise_survive():
    dots = np.zeros((6, 7), bool)
    dots[0, 0] = dots[2, 3] = dots[3, 4] = dots[5, 6] = True
    np.testing.assert_array_equal(refilled(dots, 0.35), dots)
    noise = np.random.default_rng(0).random((30, 40)) < 0.5
    np.testing.assert_array_equal(refilled(noise, 0), noise)
    assert outlines(np.zeros((4, 4), bool)) == []
    np.testing.assert_array_equal(refilled(np.ones((4, 5), bool), 0.35), np.ones((4, 5), bool))


def test_a_region_in_the_hole_of_another():
    mask = np.zeros((30, 40), bool)
    mask[2:28, 3:37] = True
    mask[6:24, 8:33] = False
    mask[10:20, 12:28] = True
    mask[13:16, 15:20] = False
    assert [len(outline.holes) for outline in outlines(mask)] == [1, 1]
    np.testing.assert_array_equal(refilled(mask, 0.35), mask)


def segmentation(ids, path, confidence=True):
    picture(path, (ids.shape[1], ids.shape[0]))
    probability = torch.linspace(0.2, 1, ids.shape[1]).expand(*ids.shape) if confidence else None
    return SegmentationResult(
        image=Image.open(path).convert("RGB"),
        ids=torch.from_numpy(ids),
        names=CLASSES,
        palette=default_palette(CLASSES),
        confidence=probability,
    )


def predicted(result, image_id, path):
    width, height = result.image.size
    objects = objects_of(result)
    image = PredictedImage(id=image_id, file=str(path), width=width, height=height, objects=objects)
    return PredictedImage.from_json(json.loads(json.dumps(image.to_json())))


def as_labels(out, name):
    """What a user does in the tool: accepts the predictions, and exports them with the images."""
    if name == "label-studio":
        tasks = json.loads((out / "tasks.json").read_text())
        tasks = [task | {"id": n, "annotations": task["predictions"]} for n, task in enumerate(tasks)]
        (out / "tasks.json").write_text(json.dumps(tasks))


@pytest.mark.parametrize("name", ["labelme", "coco", "yolo", "label-studio"])
def test_masks_written_for_a_tool_are_read_again(tmp_path, name):
    masks = {"a": blobs(1), "sub/größe b": blobs(2)}
    images = []
    for image_id, ids in masks.items():
        path = tmp_path / "images" / f"{image_id}.png"
        images.append(predicted(segmentation(ids, path), image_id, path))
    WRITERS[name].write(images, CLASSES, tmp_path)
    as_labels(tmp_path, name)
    dataset = open_folder(tmp_path, "segmentation")
    assert sorted(dataset.ids) == sorted(masks)
    assert set(dataset.classes) == set(CLASSES)
    for image_id, ids in masks.items():
        found = np.array(dataset.classes)[dataset.read(image_id).target.numpy()]
        np.testing.assert_array_equal(found, np.array(CLASSES)[ids])


def test_scores_are_those_of_the_regions_pixels(tmp_path):
    ids = np.zeros((20, 40), int)
    ids[2:8, 0:10] = 1
    ids[10:18, 30:40] = 1
    found = objects_of(segmentation(ids, tmp_path / "a.png"))
    columns = np.linspace(0.2, 1, 40)
    assert [one.label for one in found] == ["car", "car"]
    assert [one.area for one in found] == pytest.approx([80, 60], abs=1)
    assert [one.score for one in found] == pytest.approx([columns[30:].mean(), columns[:10].mean()], abs=0.01)
    assert all(one.score is None for one in objects_of(segmentation(ids, tmp_path / "a.png", confidence=False)))
    assert found[1].box == pytest.approx((0, 2, 10, 8), abs=0.01)


def boxes(path):
    picture(path, (40, 20))
    return DetectionResult(
        image=Image.open(path).convert("RGB"),
        boxes=torch.tensor([[1.0, 2, 11, 12], [20, 5, 39.5, 19]]),
        scores=torch.tensor([0.9, 0.25]),
        labels=torch.tensor([1, 0]),
        names=("bird & co", "car"),
        palette=default_palette(("bird & co", "car")),
    )


@pytest.mark.parametrize("name", WRITERS)
def test_boxes_written_for_a_tool_are_read_again(tmp_path, name):
    folder = "JPEGImages" if name == "voc" else "images"
    path = tmp_path / folder / "a.png"
    result = boxes(path)
    WRITERS[name].write([predicted(result, "a", path)], result.names, tmp_path)
    as_labels(tmp_path, name)
    dataset = open_folder(tmp_path, "detection")
    target = dataset.read("a").target
    np.testing.assert_allclose(target["boxes"], result.boxes, atol=0.02)
    assert [dataset.classes[label] for label in target["labels"].tolist()] == ["car", "bird & co"]


def test_scores_are_kept_in_each_format(tmp_path):
    path = tmp_path / "images" / "a.png"
    result = boxes(path)
    for name in WRITERS:
        WRITERS[name].write([predicted(result, "a", path)], result.names, tmp_path / name)
    shapes = json.loads((tmp_path / "labelme" / "a.json").read_text())
    assert [shape["description"] for shape in shapes["shapes"]] == ["score 0.9000", "score 0.2500"]
    assert shapes["imagePath"] == "../images/a.png"
    coco = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert [one["score"] for one in coco["annotations"]] == pytest.approx([0.9, 0.25])
    assert (tmp_path / "yolo" / "scores.csv").read_text().splitlines()[1:] == ["a,1,car,0.9000", "a,2,bird & co,0.2500"]
    xml = ElementTree.parse(tmp_path / "voc" / "Annotations" / "a.xml")
    assert [one.text for one in xml.iter("confidence")] == ["0.9000", "0.2500"]
    (task,) = json.loads((tmp_path / "label-studio" / "tasks.json").read_text())
    (prediction,) = task["predictions"]
    assert [one["score"] for one in prediction["result"]] == pytest.approx([0.9, 0.25])
    assert prediction["score"] == pytest.approx(0.575)


def test_the_tables_of_a_coco_file_are_one_for_all_images(tmp_path):
    paths = [tmp_path / "images" / name for name in ("a.png", "b.png")]
    images = [predicted(boxes(path), path.stem, path) for path in paths]
    WRITERS["coco"].write(images, ("bird & co", "car"), tmp_path)
    content = json.loads((tmp_path / "annotations.json").read_text())
    assert [(one["id"], one["file_name"]) for one in content["images"]] == [(1, "a.png"), (2, "b.png")]
    assert [(one["id"], one["image_id"]) for one in content["annotations"]] == [(1, 1), (2, 1), (3, 2), (4, 2)]


def test_masks_of_scenes_come_back():
    ids = np.asarray(render(sample_scene(7, 0), "photo").mask)
    for label in np.unique(ids):
        np.testing.assert_array_equal(refilled(ids == label, DEFAULT_TOLERANCE), ids == label)
