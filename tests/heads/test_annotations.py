"""Exports of annotation tools become the masks and boxes that were drawn."""

import base64
import io

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
    encode_coco,
    json_text,
    label_studio_brush,
    label_studio_polygon,
    label_studio_result,
    label_studio_task,
    labelme_file,
    labelme_shape,
)
from annotation_masks import cast_rays, drawn, masks_of, notes, problems
from faster_coco_eval.core import mask as reference
from official_layouts import picture, text
from PIL import Image

from tadp_heads.data.annotations.formats import FORMATS, annotation_format, read_annotations
from tadp_heads.data.check.folder import check_folder
from tadp_heads.data.errors import DataError
from tadp_heads.data.readers.user_folder import annotated_splits, annotated_tasks, folder_tasks, open_folder
from tadp_heads.data.split_images import split_images


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
