"""Stray files next to the data, and tables with errors: neither stops the rest, and no guess is made."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import read_lines
from tadp_heads.data.readers.user_folder import annotated_splits
from tadp_heads.data.registry import check_data, open_data
from tadp_heads.depth import read_depth


def segmentation(root, names=("a", "b"), values=(0, 1)):
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in names:
        Image.new("RGB", (8, 8)).save(root / "images" / f"{name}.png")
        mask = np.full((8, 8), values[0], np.uint8)
        mask[2:6, 2:6] = values[1]
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    (root / "classes.txt").write_text("background\nbuilding\n")
    (root / "train.txt").write_text("\n".join(names))
    return root


def boxes(root, names=("a",)):
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>6</xmax><ymax>6</ymax></bndbox>"
    for name in names:
        Image.new("RGB", (8, 8)).save(root / "JPEGImages" / f"{name}.png")
        xml = f"<annotation><object><name>dog</name>{box}</object></annotation>"
        (root / "Annotations" / f"{name}.xml").write_text(xml)
    (root / "ImageSets" / "Main" / "train.txt").write_text("\n".join(names))
    return root


def problems(root) -> list[str]:
    return [line for report in check_data(root) for line in report.problems]


def test_hidden_files_of_macs_and_notebooks_are_no_data(tmp_path):
    root, apple = boxes(tmp_path / "v"), b"\0\5\26\7\0\2\0\0Mac OS X"
    (root / "Annotations" / "._a.xml").write_bytes(apple)
    (root / "JPEGImages" / "._a.png").write_bytes(apple)
    (root / "ImageSets" / "Main" / "._train.txt").write_bytes(apple)
    assert problems(root) == []
    assert open_data(root).ids == open_data(root, split="train").ids == ("a",)
    root = segmentation(tmp_path / "s")
    (root / "images" / ".ipynb_checkpoints").mkdir()
    Image.new("RGB", (8, 8)).save(root / "images" / ".ipynb_checkpoints" / "a-checkpoint.png")
    (root / "images" / "old.jpg").mkdir()
    assert problems(root) == []
    assert open_data(root).ids == ("a", "b")


def test_names_with_blanks_are_ids(tmp_path):
    assert problems(segmentation(tmp_path / "s", names=("my photo 1", "my photo 2"))) == []
    root = boxes(tmp_path / "v", names=("my photo 1", "my photo 2"))
    assert problems(root) == []
    assert open_data(root, split="train").ids == ("my photo 1", "my photo 2")
    assert annotated_splits(root, "detection") == ("train",)
    (root / "ImageSets" / "Main" / "val.txt").write_text("my photo 1  1\nmy photo 2 -1\n")
    assert open_data(root, split="val").ids == ("my photo 1", "my photo 2")


def test_a_text_file_without_ids_is_no_split(tmp_path):
    root = segmentation(tmp_path)
    (root / "README.dataset.txt").write_text("Exported by a tool\n\nLicense: CC BY 4.0\nLicense: CC BY 4.0\n")
    (root / "requirements.txt").write_text("numpy\n")
    (root / "notes.txt").write_bytes(b"caf\xe9\n")
    assert problems(root) == []
    assert annotated_splits(root, "segmentation") == ("train",)
    (root / "val.txt").write_text("images/a.png\n")
    assert "found id 'images/a.png'" in problems(root)[0], "what is called like a split is one"


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((0, 255), "at most one class in all masks, and 255 (ignored) in 25.0% of the pixels"),
        ((20, 40), "ids without a class (20, 40: 100.0% of the pixels)"),
        ((255, 255), "no pixel of any class"),
    ],
)
def test_masks_made_to_be_seen_are_a_problem(tmp_path, values, found):
    assert found in " ".join(problems(segmentation(tmp_path, values=values)))


def test_masks_with_ignored_borders_are_none(tmp_path):
    root = segmentation(tmp_path)
    mask = np.array(Image.open(root / "masks" / "a.png"))
    mask[0] = 255
    Image.fromarray(mask).save(root / "masks" / "a.png")
    assert problems(root) == []


def coco(root, crowd=0, categories=((3, "cat"),)):
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    Image.new("RGB", (64, 48)).save(root / "images" / "0.jpg")
    content = {
        "images": [{"id": 0, "file_name": "0.jpg"}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 3, "bbox": [10, 10, 20, 20], "iscrowd": crowd}],
        "categories": [{"id": number, "name": name} for number, name in categories],
    }
    (root / "annotations" / "instances_val.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(
    ("given", "crowd"),
    [(0, False), (1, True), ("0", False), ("1", True), ("false", False), ("True", True), (False, False), (None, False)],
)
def test_crowds_are_crowds_however_they_are_written(tmp_path, given, crowd):
    assert open_data(coco(tmp_path, crowd=given))[0].target["difficult"].tolist() == [crowd]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crowd": "maybe"}, "iscrowd 'maybe' in annotation 0"),
        ({"categories": ((3, "cat"), (3, "kitten"))}, r"two categories with the id 3: 'cat' \(id 3\) and 'kitten'"),
        ({"categories": ((3, "cat"), (9, "cat"))}, r"two categories with the name 'cat': .*\(id 3\) .*\(id 9\)"),
    ],
)
def test_tables_that_leave_a_choice_are_an_error(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        open_data(coco(tmp_path, **change))


def test_images_of_a_split_may_lie_below_images(tmp_path):
    root = coco(tmp_path)
    (root / "images").rename(root / "val")
    (root / "images").mkdir()
    (root / "val").rename(root / "images" / "val")
    assert open_data(root)[0].id == "0"


def test_a_line_that_is_repeated_ten_thousand_times_is_found_at_once(tmp_path):
    (tmp_path / "train.txt").write_text("".join(f"{i % 2} {i // 2}\n" for i in range(40_000)) + "x\n" * 10_000)
    with pytest.raises(DataError, match="'x' more than once"):
        read_lines(tmp_path / "train.txt", "image ids")


@pytest.mark.parametrize("name", ["d.tiff", "d.npy"])
def test_depth_in_floating_point_is_in_metres(tmp_path, name):
    metres = np.float32([[0, 1.5], [2.25, 80]])
    np.save(tmp_path / name, metres) if name == "d.npy" else Image.fromarray(metres).save(tmp_path / name)
    torch.testing.assert_close(read_depth(tmp_path / name), torch.from_numpy(metres))


def test_depth_of_whole_numbers_is_millimetres_in_images_and_refused_in_arrays(tmp_path):
    millimetres = np.array([[0, 1500], [2250, 8000]], np.uint16)
    for name in ("d.png", "d.tiff"):
        Image.fromarray(millimetres).save(tmp_path / name)
        torch.testing.assert_close(read_depth(tmp_path / name), torch.tensor([[0, 1.5], [2.25, 8.0]]))
    np.save(tmp_path / "d.npy", millimetres)
    with pytest.raises(DataError, match=r"whole numbers up to 8000, expected metres.*divide millimetres"):
        read_depth(tmp_path / "d.npy")
    np.save(tmp_path / "d.npy", np.array([[1, 2], [3, 4]]))
    assert read_depth(tmp_path / "d.npy").tolist() == [[1, 2], [3, 4]]
