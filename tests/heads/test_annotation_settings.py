"""Settings beside annotations, splits, masks of colours, and what is passed over."""

import json

import numpy as np
import pytest
from annotation_exports import (
    EXPORTS,
    SHAPES,
    SIZE,
    coco_content,
    json_text,
    labelme_file,
)
from annotation_masks import drawn, problems
from official_layouts import mask, picture, text
from PIL import Image

from tadp_heads.data.annotations.formats import annotation_format
from tadp_heads.data.annotations.splits import split_by_seed
from tadp_heads.data.check.folder import check_folder
from tadp_heads.data.errors import DataError
from tadp_heads.data.readers.user_folder import annotated_splits, annotated_tasks, open_folder
from tadp_heads.data.settings import SplitSettings, read_settings
from tadp_heads.depth import write_depth_png


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
