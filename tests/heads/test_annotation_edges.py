"""What annotations of every tool have in common at their edges; masks are compared with a ray caster."""

import math

import numpy as np
import pytest
from annotation_exports import EXPORTS, SIZE
from official_layouts import picture
from PIL import Image

from tadp_heads.data.annotations.formats import annotation_format, open_annotations, read_annotations
from tadp_heads.data.check.folder import check_folder
from tadp_heads.data.errors import DataError

STAR = [(12 + 9 * math.cos(a), 8 + 7 * math.sin(a)) for a in (0.1, 2.6133, 5.1265, 1.3566, 3.8699)]
"""Crosses itself five times."""
BOW_TIE = [(2, 2), (20, 13), (20, 2), (2, 13)]
LEAVES = [(-7, 8), (12, -5.5), (30, 7.7), (11, 22)]
OUTSIDE = [(-6, -6), (-2, -6), (-2, -1)]
FILES = {"coco": "result.json", "cvat": "annotations.xml", "label-studio": "project.json"}
"""Of the formats that have one file for all images."""


def cast_rays(points) -> np.ndarray:
    """(H, W) bool: whether a ray from the pixel's centre straight up crosses the outline an odd number of times."""
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    inside = np.zeros(x.shape, dtype=bool)
    for (x1, y1), (x2, y2) in zip(points, [*points[1:], points[0]], strict=True):
        if x1 != x2:
            inside ^= ((x1 > x) != (x2 > x)) & (y > y1 + (x - x1) * (y2 - y1) / (x2 - x1))
    return inside


def expected_mask(shapes, classes) -> np.ndarray:
    """Later shapes cover earlier ones."""
    ids = np.zeros(SIZE[::-1], int)
    for label, points in shapes:
        ids[cast_rays(points)] = classes.index(label)
    return ids


def assert_read(root, drawn):
    dataset = open_annotations(root, "segmentation")
    found = {sample_id.rpartition("/")[2]: dataset.read(sample_id).target.numpy() for sample_id in dataset.ids}
    assert sorted(found) == sorted(name.rpartition(".")[0] for name in drawn)
    for name, shapes in drawn.items():
        np.testing.assert_array_equal(found[name.rpartition(".")[0]], expected_mask(shapes, dataset.classes), name)


@pytest.mark.parametrize("name", EXPORTS)
def test_outlines_that_cross_themselves_leave_the_image_or_lie_outside(tmp_path, name):
    drawn = {
        "a b.png": [("car", LEAVES), ("road", STAR)],
        "Łódź ü.png": [("road", BOW_TIE), ("car", OUTSIDE), ("car", STAR[:3])],
    }
    EXPORTS[name](tmp_path, drawn)
    assert_read(tmp_path, drawn)


@pytest.mark.parametrize("name", EXPORTS)
def test_images_turned_by_their_exif_tag(tmp_path, name):
    drawn = {"turned.png": [("car", [(1, 1), (20, 1), (20, 6)])], "plain.png": [("road", BOW_TIE)]}
    EXPORTS[name](tmp_path, drawn)
    (file,) = tmp_path.rglob("turned.png")
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", SIZE[::-1]).save(file, exif=exif)  # shown in SIZE, as it was drawn on
    assert_read(tmp_path, drawn)


@pytest.mark.parametrize("name", FILES)
def test_empty_and_torn_files_are_one_line_that_names_them(tmp_path, name):
    EXPORTS[name](tmp_path)
    file = tmp_path / FILES[name]
    content = file.read_bytes()
    (tmp_path / "tadp.toml").write_text(f'format = "{name}"\n')
    for damaged in (b"", content[: len(content) // 2], b"\xff\xfe\x00"):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=file.name) as raised:
            open_annotations(tmp_path, "segmentation")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", EXPORTS)
def test_images_without_objects_are_background(tmp_path, name):
    drawn = {"empty.png": [], "full.png": [("car", LEAVES)]}
    EXPORTS[name](tmp_path, drawn)
    assert annotation_format(tmp_path) == name
    assert_read(tmp_path, drawn)


@pytest.mark.parametrize("name", EXPORTS)
def test_images_that_are_lost_are_named_and_the_rest_is_read(tmp_path, name):
    drawn = {"lost.png": [("car", LEAVES)], "there.png": [("car", STAR)], "too.png": [("road", STAR)]}
    EXPORTS[name](tmp_path, drawn)
    next(tmp_path.rglob("lost.png")).unlink()
    if name == "yolo":  # whose lists are folders: a label file without an image
        assert {one.rpartition("/")[2] for one in read_annotations(tmp_path).images} == {"there", "too"}
        return
    (report,) = check_folder(tmp_path, "segmentation")
    assert "lost.png" in "\n".join(report.problems)
    assert [sample_id.rpartition("/")[2] for sample_id in report.dataset.ids] == ["there", "too"]


@pytest.mark.parametrize("name", ["coco", "cvat", "label-studio"])
def test_two_annotations_of_one_image_are_not_guessed_at(tmp_path, name):
    """Images of equal name in one export."""
    EXPORTS[name](tmp_path, {"a.png": [("car", LEAVES)], "b.png": [("road", STAR)], "c.png": [("car", STAR)]})
    file = tmp_path / FILES[name]
    file.write_text(file.read_text().replace("b.png", "a.png"))
    picture(next(tmp_path.rglob("a.png")), SIZE)
    (report,) = check_folder(tmp_path, "segmentation")
    assert "a second annotation of" in "\n".join(report.problems)
    assert [sample_id.rpartition("/")[2] for sample_id in report.dataset.ids] == ["c"]


def test_an_unknown_category_of_coco_is_one_line(tmp_path):
    EXPORTS["coco"](tmp_path)
    file = tmp_path / "result.json"
    file.write_text(file.read_text().replace('"category_id": 3', '"category_id": 99'))
    with pytest.raises(DataError, match=r"result.json: found category_id 99 of no category in annotation 2"):
        open_annotations(tmp_path, "segmentation")
