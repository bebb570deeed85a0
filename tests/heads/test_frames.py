"""Labels are in the frame that they were drawn in, or it is said that this is in doubt."""

import json
import logging

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tadp_heads.data.errors import DataError
from tadp_heads.data.registry import check_data, open_data

SIZE = (96, 64)
BOX = (4, 6, 24, 20)  # left, top, right, bottom on the stored pixels


def picture(path, orientation, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (90, 90, 90))
    ImageDraw.Draw(image).rectangle((BOX[0], BOX[1], BOX[2] - 1, BOX[3] - 1), fill=(230, 20, 20))
    exif = Image.Exif()
    exif[0x112] = orientation
    image.save(path, exif=exif)


def coco(root, orientation, declared=SIZE, size=SIZE):
    picture(root / "images" / "0.png", orientation, size)
    (root / "annotations").mkdir()
    left, top, right, bottom = BOX
    content = {
        "images": [{"id": 1, "file_name": "0.png", "width": declared[0], "height": declared[1]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [left, top, right - left, bottom - top]}],
        "categories": [{"id": 1, "name": "square"}],
    }
    (root / "annotations" / "instances_train.json").write_text(json.dumps(content))


def voc(root, orientation, declared=SIZE, size=SIZE):
    picture(root / "JPEGImages" / "0.png", orientation, size)
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text("0")
    left, top, right, bottom = BOX
    (root / "Annotations" / "0.xml").write_text(
        f"<annotation><size><width>{declared[0]}</width><height>{declared[1]}</height></size><object>"
        f"<name>square</name><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object></annotation>"
    )


def masks(root, orientation):
    picture(root / "images" / "0.png", orientation)
    (root / "masks").mkdir()
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 1
    Image.fromarray(mask).save(root / "masks" / "0.png")
    (root / "classes.txt").write_text("background\nsquare\n")


def depths(root, orientation):
    picture(root / "images" / "0.png", orientation)
    (root / "depth").mkdir()
    depth = np.full(SIZE[::-1], 9000, np.uint16)
    depth[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 2000
    Image.fromarray(depth).save(root / "depth" / "0.png")


def overlap(sample) -> float:
    """Intersection over union of what is red and what is labelled."""
    red = sample.image[0] > 200
    if isinstance(sample.target, dict):
        left, top, right, bottom = (int(edge) for edge in sample.target["boxes"][0])
        labelled = red.new_zeros(red.shape)
        labelled[top:bottom, left:right] = True
    else:
        labelled = sample.target < 5 if sample.target.is_floating_point() else sample.target == 1
    return float((red & labelled).sum() / (red | labelled).sum())


def doubts(root) -> list[str]:
    (report,) = check_data(root)
    assert report.problems == ()
    return [line for line in report.warnings if "EXIF" in line]


@pytest.mark.parametrize("write", [coco, voc, masks, depths])
@pytest.mark.parametrize("orientation", [1, 5, 6, 8])
def test_a_quarter_turn_is_undone_where_the_annotation_has_the_stored_size(tmp_path, write, orientation):
    write(tmp_path, orientation)
    assert overlap(open_data(tmp_path)[0]) == 1
    assert doubts(tmp_path) == []


@pytest.mark.parametrize("write", [coco, voc, masks, depths])
@pytest.mark.parametrize("orientation", [2, 3])
def test_what_sizes_cannot_tell_is_said(tmp_path, write, orientation, caplog):
    write(tmp_path, orientation)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            open_data(tmp_path).read("0")
    assert caplog.text.count("turned by its EXIF tag") == 1, "once per folder"
    assert len(doubts(tmp_path)) == 1


def test_annotations_of_the_turned_image_stay_with_it(tmp_path):
    coco(tmp_path, 6, declared=SIZE[::-1])
    assert open_data(tmp_path)[0].image.shape[-2:] == (96, 64)
    assert doubts(tmp_path) == []


@pytest.mark.parametrize("write", [coco, voc])
def test_images_that_were_scaled_without_their_boxes_are_an_error(tmp_path, write):
    write(tmp_path, 1, declared=(960, 640))
    with pytest.raises(DataError, match=r"found an image of 960x640 pixels for 0\.png, expected 96x64"):
        open_data(tmp_path).read("0")
    (report,) = check_data(tmp_path)
    assert "960x640" in report.problems[0]


@pytest.mark.parametrize("write", [coco, voc])
def test_a_size_that_is_not_given_is_not_compared(tmp_path, write):
    write(tmp_path, 1, declared=(0, 0))
    assert overlap(open_data(tmp_path)[0]) == 1
