"""Exports of annotation tools become the masks and boxes that were drawn; masks are compared with a ray caster."""

import base64
import io
import json
import math

import numpy as np
import pytest
from annotation_exports import (
    EXPORTS,
    SHAPES,
    SIZE,
    coco_content,
    cvat_image,
    cvat_polygon,
    cvat_xml,
    encode_brush,
    encode_coco,
    json_text,
    label_studio_brush,
    label_studio_polygon,
    label_studio_result,
    label_studio_task,
    labelme_file,
    labelme_shape,
)
from faster_coco_eval.core import mask as reference
from official_layouts import mask, picture, text
from PIL import Image

from tadp_heads.data.annotations.formats import FORMATS, annotation_format, read_annotations
from tadp_heads.data.annotations.rasterize import fill_ring
from tadp_heads.data.annotations.run_lengths import decode_brush, decode_coco
from tadp_heads.data.annotations.splits import split_by_seed
from tadp_heads.data.check.folder import check_folder
from tadp_heads.data.errors import DataError
from tadp_heads.data.readers.user_folder import annotated_splits, annotated_tasks, folder_tasks, open_folder
from tadp_heads.data.settings import SplitSettings, read_settings
from tadp_heads.data.split_images import split_images
from tadp_heads.depth import write_depth_png


def cast_rays(points, size=SIZE) -> np.ndarray:
    """(H, W) bool: whether a ray from the pixel's centre straight up crosses the outline an odd number of times."""
    width, height = size
    inside = np.zeros((height, width), dtype=bool)
    for row in range(height):
        for column in range(width):
            x, y = column + 0.5, row + 0.5
            for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
                if (x1 > x) != (x2 > x) and y > y1 + (x - x1) * (y2 - y1) / (x2 - x1):
                    inside[row, column] ^= True
    return inside


def drawn(shapes, ids, size=SIZE, unlabelled=0) -> np.ndarray:
    """(H, W) ids of shapes, later ones over earlier ones."""
    expected = np.full(size[::-1], unlabelled)
    for label, points in shapes:
        expected[cast_rays(points, size)] = ids[label]
    return expected


def masks_of(root, split=None):
    dataset = open_folder(root, "segmentation", split)
    return {sample_id: dataset.read(sample_id).target.numpy() for sample_id in dataset.ids}


def problems(root, task="segmentation"):
    (report,) = check_folder(root, task)
    return "\n".join(report.problems)


def notes(root, task="segmentation"):
    (report,) = check_folder(root, task)
    return "\n".join(report.warnings)


STAR = [(12 + 9 * math.cos(a), 8 + 7 * math.sin(a)) for a in (0.1, 2.6133, 5.1265, 1.3566, 3.8699)]
RINGS = {
    "concave": SHAPES["first.png"][0][1],
    "leaves the image on all sides": [(-7, 8), (12, -9.5), (40, 7.7), (11, 31)],
    "self-intersecting": STAR,
    "bow tie": [(2, 2), (20, 13), (20, 2), (2, 13)],
    "sliver": [(1, 1.1), (23, 1.2), (23, 1.3)],
    "wholly outside": [(-9, -9), (-2, -9), (-2, -1)],
    "whole pixels": [(3, 2), (9, 2), (9, 7), (3, 7)],
}


@pytest.mark.parametrize("ring", RINGS.values(), ids=RINGS)
def test_polygons_have_the_pixels_whose_centres_they_contain(ring):
    np.testing.assert_array_equal(fill_ring(np.array(ring), SIZE[1], SIZE[0]), cast_rays(ring))


def test_random_polygons_have_the_pixels_of_a_ray_caster():
    for seed in range(60):
        points = np.random.default_rng(seed).uniform(-4, 26, (3 + seed % 9, 2)).tolist()
        np.testing.assert_array_equal(fill_ring(np.array(points), SIZE[1], SIZE[0]), cast_rays(points), str(seed))


def test_polygons_with_a_common_edge_share_no_pixel_and_leave_none_out():
    left = np.array([(0, 0), (8.5, 0), (15.5, 16), (0, 16)])
    right = np.array([(8.5, 0), (24, 0), (24, 16), (15.5, 16)])
    np.testing.assert_array_equal(fill_ring(left, 16, 24) + 0 + fill_ring(right, 16, 24), np.ones((16, 24)))


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_is_recognized_and_read_as_it_was_drawn(tmp_path, name):
    EXPORTS[name](tmp_path)
    assert annotation_format(tmp_path) == name
    assert folder_tasks(tmp_path) == ("segmentation", "detection")
    dataset = open_folder(tmp_path, "segmentation")
    assert dataset.classes == ("background", "car", "road")
    assert dataset.prompt_names == ("", "car", "road")
    found = {sample_id.rpartition("/")[2]: dataset.read(sample_id) for sample_id in dataset.ids}
    assert sorted(f"{stem}.png" for stem in found) == sorted(SHAPES)
    for file_name, shapes in SHAPES.items():
        sample = found[file_name.removesuffix(".png")]
        np.testing.assert_array_equal(sample.target, drawn(shapes, {"car": 1, "road": 2}))
        assert tuple(sample.image.shape[-2:]) == SIZE[::-1]
    (segmentation,), (detection,) = check_folder(tmp_path, "segmentation"), check_folder(tmp_path, "detection")
    assert segmentation.layout == detection.layout == FORMATS[name].title
    assert not segmentation.problems
    assert detection.histogram == {"car": 2, "road": 1}
    assert "leaves größe 2.png" in "\n".join(segmentation.warnings)
    assert annotated_splits(tmp_path, "segmentation") == ("train", "val")
    halves = [open_folder(tmp_path, "detection", split) for split in ("train", "val")]
    assert sorted(halves[0].ids + halves[1].ids) == sorted(dataset.ids)
    assert split_images(tmp_path, "val").keys() == set(halves[1].ids)


def test_boxes_are_those_around_shapes_inside_the_image(tmp_path):
    EXPORTS["labelme"](tmp_path)
    target = open_folder(tmp_path, "detection").read("größe 2").target
    assert target["boxes"].tolist() == [[0, 2, 24, 16]]
    assert target["labels"].tolist() == [0]


# LabelMe


def test_labelme_rectangles_circles_masks_and_what_has_no_area(tmp_path):
    picture(tmp_path / "a.png", SIZE)
    painted = np.zeros((4, 5), np.uint8)
    painted[1:3, 2:] = 255
    buffer = io.BytesIO()
    Image.fromarray(painted).save(buffer, format="PNG")
    shapes = [
        labelme_shape("box", [(20, 12), (14, 9)], "rectangle"),
        labelme_shape("disc", [(6, 6), (6, 9.5)], "circle"),
        labelme_shape("stroke", [(18, 1), (22, 4)], "mask", mask=base64.b64encode(buffer.getvalue()).decode()),
        labelme_shape("dot", [(3, 3)], "point"),
        labelme_shape("lane", [(3, 3), (4, 9)], "line"),
        labelme_shape("flat", [(3, 3), (4, 9)], "polygon"),
    ]
    labelme_file(tmp_path / "a.json", "a.png", shapes, flags={"rainy": True, "night": False})
    expected = drawn([("box", [(14, 9), (20, 9), (20, 12), (14, 12)])], {"box": 1})
    rows, columns = np.mgrid[:16, :24]
    expected[np.hypot(columns - 5.5, rows - 5.5) < 3.5] = 2
    expected[1:5, 18:23][painted > 0] = 3
    np.testing.assert_array_equal(masks_of(tmp_path)["a"], expected)
    said = notes(tmp_path)
    assert all(f"shape {n} ({label}) is left out" in said for n, label in ((4, "dot"), (5, "lane"), (6, "flat")))
    assert read_annotations(tmp_path).images["a"].tags == ("rainy",)


def test_labelme_groups_are_one_object(tmp_path):
    picture(tmp_path / "a.png", SIZE)
    parts = [([(1, 1), (4, 1), (4, 4)], 1), ([(10, 8), (12, 8), (12, 11)], 1), ([(20, 2), (22, 2), (22, 5)], None)]
    labelme_file(tmp_path / "a.json", "a.png", [labelme_shape("car", p, group_id=g) for p, g in parts])
    boxes = open_folder(tmp_path, "detection").read("a").target["boxes"].tolist()
    assert boxes == [[1, 1, 12, 11], [20, 2, 22, 5]]


def test_labelme_paths_of_windows_and_files_that_are_damaged(tmp_path):
    picture(tmp_path / "images" / "Strecke 1" / "b.png", SIZE)
    shape = labelme_shape("car", [(1, 1), (9, 1), (9, 9)])
    labelme_file(tmp_path / "json" / "b.json", r"..\images\Strecke 1\b.png", [shape])
    (tmp_path / "json" / "b.json").write_bytes(
        b"\xef\xbb\xbf" + (tmp_path / "json" / "b.json").read_bytes().replace(b"\n", b"\r\n")
    )
    assert list(masks_of(tmp_path)) == ["Strecke 1/b"]
    text(tmp_path / "json" / "empty.json", "")
    labelme_file(tmp_path / "json" / "lost.json", "lost.png", [shape])
    labelme_file(tmp_path / "json" / "odd.json", "b.png", [labelme_shape("car", [(1, float("nan")), (2, 2), (3, 1)])])
    said = problems(tmp_path)
    assert "empty.json: found no valid JSON" in said
    assert "lost.json: found no image 'lost.png'" in said
    assert "odd.json: found the coordinate nan in shape 1 (car)" in said
    with pytest.raises(DataError, match="and 2 more: `tadp data check` lists them"):
        open_folder(tmp_path, "segmentation")


def test_an_image_that_was_annotated_twice_is_left_out(tmp_path):
    EXPORTS["labelme"](tmp_path)
    labelme_file(tmp_path / "again.json", "first.png", [])
    said = problems(tmp_path)
    assert "first.json: found a second annotation of 'first'" in said or "again.json: found a second" in said
    (report,) = check_folder(tmp_path, "segmentation")
    assert report.dataset.ids == ("größe 2",)


def test_a_size_that_is_not_the_files_and_a_rotated_image(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (16, 24)).save(tmp_path / "turned.jpg", exif=exif)  # shown as 24x16
    ring = [(1, 1), (20, 1), (20, 6)]
    labelme_file(tmp_path / "turned.json", "turned.jpg", [labelme_shape("car", ring)], (24, 16))
    np.testing.assert_array_equal(masks_of(tmp_path)["turned"], drawn([("car", ring)], {"car": 1}))
    labelme_file(tmp_path / "turned.json", "turned.jpg", [labelme_shape("car", ring)], (16, 24))
    assert masks_of(tmp_path)["turned"].shape == (24, 16), "drawn on the stored pixels"
    labelme_file(tmp_path / "turned.json", "turned.jpg", [labelme_shape("car", ring)], (48, 32))
    assert "found an image of 48x32 pixels for turned.jpg, expected 24x16" in problems(tmp_path)


# COCO


@pytest.mark.parametrize("packed", [True, False])
def test_coco_run_lengths_crowds_parts_and_holes(tmp_path, packed):
    picture(tmp_path / "images" / "a.png", SIZE)
    ring_with_hole = np.zeros(SIZE[::-1], bool)
    ring_with_hole[2:12, 3:15] = True
    ring_with_hole[5:8, 6:10] = False
    code = reference.encode(np.asfortranarray(ring_with_hole.astype(np.uint8)))
    code = code | {"counts": bytes(code["counts"]).decode()} if packed else encode_coco(ring_with_hole)
    content = coco_content({"a.png": [("car", [(1, 1), (5, 1), (5, 5)]), ("road", [(0, 0), (9, 0), (9, 9)])]})
    two = content["annotations"][0]
    parts = [[16, 1, 22, 1, 22, 4], [17, 12, 23, 12, 20, 15.2]]
    two["segmentation"] = parts
    content["annotations"][1] |= {"segmentation": code, "iscrowd": 1}
    json_text(tmp_path / "labels.json", content)
    expected = np.where(ring_with_hole, 2, 0)
    for part in parts:
        expected[cast_rays(np.reshape(part, (-1, 2)).tolist())] = 1
    np.testing.assert_array_equal(masks_of(tmp_path)["a"], expected)
    target = open_folder(tmp_path, "detection").read("a").target
    assert target["boxes"].tolist()[1] == [3, 2, 15, 12]
    assert target["difficult"].tolist() == [False, True]


def test_run_lengths_are_those_of_the_reference():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pixels = rng.random((7 + seed, 40 - seed)) < rng.random()
        code = reference.encode(np.asfortranarray(pixels.astype(np.uint8)))
        np.testing.assert_array_equal(decode_coco({**code, "counts": bytes(code["counts"]).decode()}), pixels)
        np.testing.assert_array_equal(decode_coco(encode_coco(pixels)), pixels)
        np.testing.assert_array_equal(decode_brush(encode_brush(pixels), *pixels.shape), pixels)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"size": [16, 24], "counts": [380]}, "run lengths of 380 pixels, expected 384"),
        ({"size": [16, 24], "counts": [390, -6]}, "no numbers of pixels"),
        ({"size": [16, 24], "counts": "o"}, "cut short or damaged"),
        ({"size": [1 << 30, 1 << 30], "counts": [5]}, "expected 24x16"),
        ({"size": [24, 16], "counts": [384]}, "pixels of a 16x24 image, expected 24x16"),
    ],
)
def test_damaged_run_lengths_give_one_line(tmp_path, code, message):
    picture(tmp_path / "a.png", SIZE)
    content = coco_content({"a.png": [("car", [(1, 1), (5, 1), (5, 5)])]})
    content["annotations"][0]["segmentation"] = code
    json_text(tmp_path / "labels.json", content)
    said = problems(tmp_path)
    assert "labels.json: found" in said
    assert message in said
    assert "annotation 1 of a.png" in said


def test_coco_polygons_next_to_boxes_are_read_as_masks_and_never_a_box_as_a_mask(tmp_path):
    picture(tmp_path / "train" / "a.png", SIZE)
    content = coco_content({"a.png": SHAPES["first.png"]})
    path = tmp_path / "annotations" / "instances_train.json"
    json_text(path, content)
    assert annotated_tasks(tmp_path) == ("segmentation", "detection")
    assert annotated_splits(tmp_path, "segmentation") == annotated_splits(tmp_path, "detection") == ("train",)
    found = masks_of(tmp_path, "train")
    np.testing.assert_array_equal(found["a"], drawn(SHAPES["first.png"], {"car": 1, "road": 2}))
    assert open_folder(tmp_path, "detection", "train").ids == ("a",)
    content["annotations"][1]["segmentation"] = []
    json_text(path, content)
    assert "found only a box for annotation 2 (car) of a.png" in problems(tmp_path)
    content["annotations"][0]["segmentation"] = []
    json_text(path, content)
    assert annotated_tasks(tmp_path) == ("detection",)


def test_roboflow_folders_are_splits(tmp_path):
    for split, name in (("train", "a.png"), ("valid", "a.png")):
        picture(tmp_path / split / name, SIZE)
        json_text(tmp_path / split / "_annotations.coco.json", coco_content({name: SHAPES["first.png"]}))
    assert annotated_splits(tmp_path, "segmentation") == ("train", "val")
    assert open_folder(tmp_path, "segmentation", "val").image_files["valid/a"] == tmp_path / "valid" / "a.png"


# YOLO


def test_yolo_boxes_are_for_detection_alone_and_mixed_ones_no_masks(tmp_path):
    picture(tmp_path / "images" / "a.png", SIZE)
    text(tmp_path / "classes.txt", "car\nroad\n")
    text(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.25 0.5\n0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.2 0.2 0.93\n")
    assert folder_tasks(tmp_path) == ("detection",)
    target = open_folder(tmp_path, "detection").read("a").target
    np.testing.assert_allclose(target["boxes"], [[9, 4, 15, 12], [0, 0, 4.8, 3.2]], atol=1e-5)
    assert target["labels"].tolist() == [0, 1]
    assert "line 2 is left out: it repeats an earlier one" in notes(tmp_path, "detection")
    text(tmp_path / "labels" / "a.txt", "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.2 0.1 0.2 0.4\n")
    assert "found only a box for line 1 (car)" in problems(tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2 0.1 0.1 0.2 0.1 0.2 0.4", "class '2' in line 1, of 2 classes"),
        ("0 10 10 200 10 200 40", "coordinates that are no shares of the image's width and height in line 1"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.4 0.3", "an odd number of coordinates in line 1"),
        ("0 a b c d e f", "the coordinate 'a' in line 1"),
    ],
)
def test_malformed_yolo_lines(tmp_path, row, message):
    EXPORTS["yolo"](tmp_path)
    text(tmp_path / "labels" / "train" / "first.txt", row + "\n")
    said = problems(tmp_path)
    assert f"first.txt: found {message}" in said


def test_yolo_reads_lists_of_paths_and_nothing_outside_the_folder(tmp_path):
    root, other = tmp_path / "data", tmp_path / "other" / "images"
    EXPORTS["yolo"](root)
    picture(other / "secret.png", SIZE)
    text(root / "lists" / "train.txt", "./images/train/first.png\nC:\\data\\images\\val\\größe 2.png\n")
    text(root / "data.yaml", "train: lists/train.txt\nval: ../other/images\nnames: [car, road]\n")
    (report,) = check_folder(root, "segmentation")
    assert report.dataset.ids == ("train/first", "val/größe 2")
    assert "found no folder or list '../other/images'" in problems(root)
    text(root / "data.yaml", "train: images/train\nnames: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(DataError, match="no valid YAML"):
        annotated_tasks(root)


# CVAT


def test_cvat_boxes_ellipses_masks_and_rotations(tmp_path):
    picture(tmp_path / "images" / "sub dir" / "a.png", SIZE)
    shapes = (
        '<box label="a" xtl="2" ytl="3" xbr="8" ybr="7" z_order="0"/>'
        '<box label="b" xtl="14" ytl="4" xbr="20" ybr="8" rotation="90" z_order="1"/>'
        '<ellipse label="c" cx="6" cy="12" rx="4" ry="2" z_order="2"/>'
        '<mask label="d" rle="1, 3, 2, 2" left="20" top="13" width="4" height="2" z_order="3"/>'
        '<polyline label="a" points="1,1;5,5"/><points label="a" points="1,1"/><tag label="rain"/>'
    )
    text(tmp_path / "annotations.xml", cvat_xml(cvat_image("sub dir/a.png", shapes), ("a", "b", "c", "d")))
    expected = np.zeros(SIZE[::-1], int)
    expected[3:7, 2:8] = 1
    expected[3:9, 15:19] = 2
    rows, columns = np.mgrid[:16, :24] + 0.5
    expected[((columns - 6) / 4) ** 2 + ((rows - 12) / 2) ** 2 < 1] = 3
    expected[13, 21:24] = 4
    expected[14, 22:24] = 4
    np.testing.assert_array_equal(masks_of(tmp_path)["sub dir/a"], expected)
    assert "polyline 5 (a) is left out: a polyline has no area" in notes(tmp_path)
    assert read_annotations(tmp_path).images["sub dir/a"].tags == ("rain",)


def test_cvat_subsets_windows_names_and_unknown_labels(tmp_path):
    ring = SHAPES["first.png"][0][1]
    images = ""
    for name, subset, label in (
        ("a.png", "Train", "car"),
        (r"C:\tmp\b.png", "Validation", "car"),
        ("c.png", "Train", "cat"),
    ):
        picture(tmp_path / "images" / name.rpartition("\\")[2], SIZE)
        images += cvat_image(name, cvat_polygon(label, ring), more=f'subset="{subset}"')
    text(tmp_path / "annotations.xml", cvat_xml(images, ("car",)))
    assert annotated_splits(tmp_path, "segmentation") == ("train", "val")
    said = problems(tmp_path)
    assert "found the label 'cat' in polygon 1 of c.png, expected one of background, car" in said
    (report,) = check_folder(tmp_path, "segmentation")
    assert report.dataset.ids == ("a", "b")
    text(tmp_path / "annotations.xml", '<annotations><track id="0" label="car"/></annotations>')
    with pytest.raises(DataError, match="tracks of a video, expected CVAT for images"):
        open_folder(tmp_path, "segmentation")


# Label Studio


def test_label_studio_brushes_rectangles_and_several_annotations(tmp_path):
    picture(tmp_path / "media" / "a.png", SIZE)
    painted = np.zeros(SIZE[::-1], bool)
    painted[3:9, 2:7] = True
    box = {"x": 50, "y": 25, "width": 25, "height": 50, "rotation": 0}
    turned = {"x": 25, "y": 75, "width": 25, "height": 12.5, "rotation": 90}
    results = [
        label_studio_brush("brush", painted),
        label_studio_result("rectanglelabels", "box", box),
        label_studio_result("rectanglelabels", "box", turned),
        label_studio_result("keypointlabels", "dot", {"x": 1, "y": 1}),
        {"type": "choices", "value": {"choices": ["rainy"]}},
    ]
    task = label_studio_task(1, "/data/local-files/?d=old%20disk/a.png", results, updated_at="2026-02-02")
    older = {"id": 9, "result": [label_studio_polygon("old", [(1, 1), (9, 1), (9, 9)])], "updated_at": "2026-01-01"}
    task["annotations"] += [older, {"id": 10, "was_cancelled": True, "result": []}]
    json_text(tmp_path / "export.json", [task])
    expected = np.where(painted, 2, 0)
    expected[4:12, 12:18] = 1
    expected[cast_rays([(6, 12), (6, 18), (4, 18), (4, 12)])] = 1
    np.testing.assert_array_equal(masks_of(tmp_path)["media/a"], expected)
    said = notes(tmp_path)
    assert "all but annotation 1 of task 1 is left out" in said
    assert "task 1, result 4 is left out: a key point has no area" in said
    assert read_annotations(tmp_path).images["media/a"].tags == ("rainy",)
    older["ground_truth"] = True
    json_text(tmp_path / "export.json", [task])
    assert open_folder(tmp_path, "segmentation").classes == ("background", "old")


def test_brush_strokes_as_the_browser_packs_them():
    """Stretches of different values, and half-opaque edges."""
    values = [0, 0, 0, 0, 9, 9, 9, 200, 5, 6, 7, 100, 0, 0, 0, 255]
    bits = f"{16:032b}{7:05b}" + "".join(f"{n:04b}" for n in (3, 7, 11, 15))
    bits += f"1{0:02b}{3:04b}{0:08b}"  # a run of four zeros
    bits += f"0{0:02b}{11:04b}" + "".join(f"{value:08b}" for value in values[4:])
    bits += "0" * (-len(bits) % 8)
    code = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    np.testing.assert_array_equal(decode_brush(code, 2, 2), [[False, True], [False, True]])
    with pytest.raises(ValueError, match="cut short"):
        decode_brush(code[:-2], 2, 2)
    with pytest.raises(ValueError, match="of another image than 3x2"):
        decode_brush(code, 2, 3)


# tadp.toml


def test_settings_name_ignore_merge_and_leave_unlabelled_pixels_out(tmp_path):
    EXPORTS["labelme"](tmp_path)
    toml = 'unlabelled = "ignore"\nclasses = ["vehicle", "tree"]\nignore = ["road"]\n'
    text(tmp_path / "tadp.toml", toml + '[remap]\ncar = "vehicle"\n[prompts]\nvehicle = "parked car"\n')
    dataset = open_folder(tmp_path, "segmentation")
    assert dataset.classes == ("vehicle", "tree")
    assert dataset.prompt_names == ("parked car", "tree")
    expected = drawn(SHAPES["first.png"], {"road": 255, "car": 0}, unlabelled=255)
    np.testing.assert_array_equal(dataset.read("first").target, expected)
    assert open_folder(tmp_path, "detection").read("first").target["labels"].tolist() == [0]
    text(tmp_path / "tadp.toml", toml)
    assert "found the label 'car' in shape 2 of first.png, expected one of vehicle, tree" in problems(tmp_path)


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("classes = [1]", "classes = [1]"),
        ("clases = []", "found the setting clases, expected one of format"),
        ('unlabelled = "void"', "found unlabelled 'void', expected 'background' or 'ignore'"),
        ("[split]\nval = 1.2", "found split.val 1.2 and test 0.0, expected shares"),
        ('[split]\ngroup = "("', "found split.group '('"),
        ("[depth]\nrange = [3, 1]", "found depth.range [3, 1], expected [nearest, farthest]"),
        ("x", "no valid TOML"),
        ('[prompts]\ncat = "x"', "found prompts for 'cat', expected one of the classes"),
        ('format = "nope"', "found format 'nope', expected one of labelme"),
    ],
)
def test_wrong_settings_give_one_line(tmp_path, toml, message):
    EXPORTS["labelme"](tmp_path)
    text(tmp_path / "tadp.toml", toml)
    with pytest.raises(DataError) as raised:
        open_folder(tmp_path, "segmentation")
    assert "tadp.toml: " in str(raised.value)
    assert message in str(raised.value)


def test_several_formats_in_one_folder_are_distinguished_by_the_settings(tmp_path):
    EXPORTS["labelme"](tmp_path)
    json_text(tmp_path / "coco.json", coco_content({"first.png": SHAPES["first.png"][:1]}))
    with pytest.raises(DataError, match=r"several formats \(labelme, coco\).*format = \"NAME\""):
        open_folder(tmp_path, "segmentation")
    text(tmp_path / "tadp.toml", 'format = "coco"')
    assert open_folder(tmp_path, "segmentation").classes == ("background", "road")


def test_splits_follow_the_seed_and_the_group_and_stay_as_images_are_added():
    ids = [f"clip{n // 10}/{n:03}" for n in range(200)]
    settings = SplitSettings(val=0.2, test=0.1, seed=3)
    splits = split_by_seed(ids, settings)
    assert {name: len(part) for name, part in splits.items()} == pytest.approx(
        {"train": 140, "val": 40, "test": 20}, abs=20
    )
    assert sorted(name for part in splits.values() for name in part) == sorted(ids)
    more = split_by_seed([*ids, "new/1", "new/2"], settings)
    assert all(set(splits[name]) <= set(more[name]) for name in splits)
    assert split_by_seed(ids, SplitSettings(seed=4)) != split_by_seed(ids, SplitSettings(seed=5))
    for group in ("folder", r"^clip\d+", r"^(clip\d+)/"):
        parts = split_by_seed(ids, SplitSettings(val=0.3, group=group))
        assert not {name.split("/")[0] for name in parts["train"]} & {name.split("/")[0] for name in parts["val"]}
    assert {name: len(part) for name, part in split_by_seed(["a", "b"], SplitSettings()).items()} == {
        "train": 1,
        "val": 1,
    }
    assert split_by_seed(["a"], SplitSettings()) in ({"train": ("a",)}, {"val": ("a",)})


def test_split_files_come_before_the_seed(tmp_path):
    EXPORTS["labelme"](tmp_path)
    text(tmp_path / "val.txt", "first\ngröße 2\n")
    assert open_folder(tmp_path, "segmentation", "val").ids == ("first", "größe 2")
    with pytest.raises(DataError, match="found the splits val, expected 'train' among them"):
        open_folder(tmp_path, "segmentation", "train")


# Masks of colours, of palettes, and depth


def color_masks(root, table="tadp.toml"):
    picture(root / "images" / "a.png", SIZE)
    columns = np.array([(0, 0, 0), (128, 0, 0), (0, 0, 255)], np.uint8)[np.arange(24) // 8]
    (root / "masks").mkdir()
    Image.fromarray(np.tile(columns, (16, 1, 1))).save(root / "masks" / "a.png")
    rows = {"background": (0, 0, 0), "car": (128, 0, 0), "big tree": (0, 0, 255)}
    content = {
        "tadp.toml": "[palette]\n" + "".join(f'"{name}" = {list(color)}\n' for name, color in rows.items()),
        "labelmap.txt": "# label:color_rgb:parts:actions\n"
        + "".join(f"{n}:{r},{g},{b}::\n" for n, (r, g, b) in rows.items()),
        "class_dict.csv": "name,r,g,b\r\n" + "".join(f"{n},{r},{g},{b}\r\n" for n, (r, g, b) in rows.items()),
    }
    text(root / table, content[table])


@pytest.mark.parametrize("table", ["tadp.toml", "labelmap.txt", "class_dict.csv"])
def test_masks_of_colours(tmp_path, table):
    color_masks(tmp_path, table)
    dataset = open_folder(tmp_path)
    assert dataset.classes == ("background", "car", "big tree")
    assert dataset.palette == ((0, 0, 0), (128, 0, 0), (0, 0, 255))
    np.testing.assert_array_equal(dataset.read("a").target[0], np.arange(24) // 8)
    (report,) = check_folder(tmp_path)
    assert report.layout == "masks of colours"
    assert not report.problems
    with Image.open(tmp_path / "masks" / "a.png") as image:
        image.putpixel((5, 3), (1, 2, 3))
        image.save(tmp_path / "masks" / "a.png")
    assert "found the colour (1, 2, 3) at x 5, y 3, and 0 more pixels of no class" in problems(tmp_path)


def test_colours_may_be_ignored_or_share_a_class(tmp_path):
    color_masks(tmp_path)
    toml = (tmp_path / "tadp.toml").read_text()
    text(tmp_path / "tadp.toml", f'ignore = ["background"]\n{toml}[remap]\n"big tree" = "car"\n')
    dataset = open_folder(tmp_path)
    assert dataset.classes == ("car",)
    np.testing.assert_array_equal(dataset.read("a").target[0], np.array([255, 0, 0])[np.arange(24) // 8])


def test_palette_masks_keep_their_palette_and_values_may_be_ignored(tmp_path):
    picture(tmp_path / "images" / "a.png", SIZE)
    mask(tmp_path / "masks" / "a.png", 0, 1, 2)
    with Image.open(tmp_path / "masks" / "a.png") as image:
        image.putpalette([0, 0, 0, 10, 200, 10, 20, 20, 250])
        image.save(tmp_path / "masks" / "a.png")
    text(tmp_path / "classes.txt", "background\ntree\ncar\n")
    assert open_folder(tmp_path).palette == ((0, 0, 0), (10, 200, 10), (20, 20, 250))
    text(tmp_path / "tadp.toml", "ignore = [1]")
    dataset = open_folder(tmp_path)
    assert dataset.classes == ("background", "car")
    assert dataset.palette == ((0, 0, 0), (20, 20, 250))
    np.testing.assert_array_equal(dataset.read("a").target[0], np.array([0, 255, 1])[np.arange(24) // 8])


def test_cvat_segmentation_masks(tmp_path):
    color_masks(tmp_path, "labelmap.txt")
    (tmp_path / "masks").rename(tmp_path / "SegmentationClass")
    (tmp_path / "images").rename(tmp_path / "JPEGImages")
    text(tmp_path / "ImageSets" / "Segmentation" / "val.txt", "a\n")
    assert annotated_splits(tmp_path, "segmentation") == ("val",)
    np.testing.assert_array_equal(open_folder(tmp_path, split="val").read("a").target[0], np.arange(24) // 8)


def test_depth_scale_and_camera_range(tmp_path):
    import torch

    picture(tmp_path / "images" / "a.png", SIZE)
    (tmp_path / "depth").mkdir()
    write_depth_png(tmp_path / "depth" / "a.png", torch.linspace(1, 8, 24).expand(16, 24))  # units of a millimetre
    text(tmp_path / "tadp.toml", "[depth]\nscale = 0.01\nrange = [20, 60.5]\n")
    row = open_folder(tmp_path).read("a").target[0].numpy()
    metres = torch.linspace(10, 80, 24).numpy()
    np.testing.assert_allclose(row, np.where((metres >= 20) & (metres <= 60.5), metres, 0), atol=0.01)


def test_files_outside_the_folder_are_never_read(tmp_path):
    picture(tmp_path / "secret.png", SIZE)
    root = tmp_path / "data"
    EXPORTS["labelme"](root)
    labelme_file(root / "up.json", "../secret.png", [])
    labelme_file(root / "absolute.json", str(tmp_path / "secret.png"), [])
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    labelme_file(root / "link.json", "link.png", [])
    with pytest.raises(DataError, match="leads out of the data set's folder"):
        open_folder(root, "segmentation")
    (root / "link.json").unlink()
    said = problems(root)
    assert "up.json: found no image '../secret.png'" in said
    assert "absolute.json: found no image" in said


def test_predictions_next_to_images_are_no_annotations(tmp_path):
    picture(tmp_path / "a.png", SIZE)
    json_text(tmp_path / "out" / "a_boxes.json", coco_content(SHAPES))
    for name in ("settings.json", "captions.jsonl"):
        text(tmp_path / "out" / name, "{}")
    assert annotated_tasks(tmp_path) == ()


def test_json_of_other_tools_is_passed_over(tmp_path):
    EXPORTS["coco"](tmp_path)
    text(tmp_path / "notes.json", json.dumps({"info": 1}))
    assert annotation_format(tmp_path) == "coco"
    assert read_settings(tmp_path).format == ""
