"""`tadp data ...` as a user types it."""

import json

import numpy as np
import pytest
import torch
from annotation_exports import EXPORTS
from invoking import tadp
from PIL import Image
from surface import assert_frozen, key_lines

from tadp_cli.config.recipe import load_recipe
from tadp_cli.inputs.preflight_checks import check_splits
from tadp_heads.data.check.dataset import sample_sheet
from tadp_heads.data.errors import DataError
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.registry import DATASETS, open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.depth import write_depth_png


@pytest.mark.parametrize("task", ["segmentation", "depth", "detection"])
def test_scenes_are_written_checked_and_drawn(tmp_path, task):
    data, out = tmp_path / "data", tmp_path / "check"
    options = ("--task", task, "--train", "3", "--val", "2", "--size", "32")
    assert "5 images in" in tadp("data", "scenes", "--out", data, *options)
    said = tadp("data", "check", data, "--out", out)
    assert f"{task}: 5 images" in said
    assert "32x32 (5)" in said
    assert "problem" not in said
    (report,) = json.loads((out / "report.json").read_text())
    assert_frozen(f"data_check_{task}", key_lines(out, "report.json", maps=("* [[]].histogram", "* [[]].sizes")))
    assert report["images"] == 5
    if task == "depth":
        near, far = report["depth_range_m"]
        assert 1 < near < far <= 10
    else:
        assert sum(report["histogram"].values()) >= 5
    with Image.open(out / f"{task}.png") as file:
        sheet = np.array(file)
    legend = 26 if task == "segmentation" else 0
    assert sheet.shape == (2 * (256 + 18) + legend, 1024, 3), "two rows of pictures, their ids below them"
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 100  # pictures, not an empty page


def test_problems_are_listed_and_the_exit_code_is_one(tmp_path):
    data = tmp_path / "data"
    tadp("data", "scenes", "--out", data, "--train", "3", "--val", "0", "--size", "32")
    (data / "masks" / "train_00001.png").write_bytes(b"")
    (data / "images" / "train_00002.png").unlink()
    said = tadp("data", "check", data, "--out", tmp_path / "check", code=1)
    assert "train_00001.png: found no image data" in said
    assert "masks/train_00002.png: found no image of its name" in said
    assert "train.txt: found id 'train_00002' and 0 more without an image" in said
    assert "error: 3 problems in" in said


def test_a_data_set_by_name(tmp_path):
    root = tmp_path / "nyu"
    scene = root / "official_splits" / "test" / "bathroom"
    scene.mkdir(parents=True)
    Image.new("RGB", (20, 12), "green").save(scene / "rgb_00045.jpg")
    write_depth_png(scene / "sync_depth_00045.png", torch.full((12, 20), 2.5))
    said = tadp("data", "check", f"nyuv2:{root}", "--out", tmp_path / "check")
    assert "depth: 1 images" in said
    assert "2.500 to 2.500 m" in said
    assert "no split 'val'" in tadp("data", "check", f"nyuv2:{root}", "--split", "val", code=2)
    assert "found no folder" in tadp("data", "check", f"coco:{root}", "--out", tmp_path / "c", code=1)


def test_the_list_names_every_data_set():
    said = tadp("data", "list")
    assert all(name in said for name in DATASETS)


def test_wrong_folders_are_wrong_use(tmp_path):
    assert "found no folder" in tadp("data", "check", tmp_path / "no", code=2)
    assert "none of the layouts" in tadp("data", "check", tmp_path, code=2)
    assert "unknown domain 'mud'" in tadp("data", "scenes", "--domain", "mud", "--out", tmp_path / "s", code=2)


def test_a_sheet_shows_twelve_samples(tmp_path):
    write_scenes(tmp_path, task="depth", domain="photo", split="train", count=14, seed=0)
    sheet = sample_sheet(open_folder(tmp_path, "depth"))
    assert sheet.size == (1024, 3 * (256 + 18))


def test_real_driving_frames_pass(shared_data, tmp_path):
    root = shared_data / "camvid"
    if not root.is_dir():
        pytest.skip("no driving frames there")
    said = tadp("data", "check", root, "--out", tmp_path)
    assert "segmentation: 190 images" in said
    assert "problem" not in said
    with Image.open(tmp_path / "segmentation.png") as sheet:
        assert sheet.size == (1024, 3 * (256 + 18) + 26), "three rows of pictures with their ids, and the legend"


def test_annotations_of_a_tool_are_recognized_imported_and_counted(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    EXPORTS["labelme"](data)
    (data / "lost.json").write_text('{"shapes": [], "imagePath": "lost.png"}')
    said = tadp("data", "check", data, "--out", tmp_path / "check", code=1)
    assert "segmentation: 2 images (LabelMe JSON)" in said
    assert "lost.json: found no image 'lost.png'" in said
    said = tadp("data", "import", data, "--out", out, "--val", "0.4")
    assert "lost.json: found no image 'lost.png'" in said
    assert "LabelMe JSON: 2 images written, 0 were there already (train 1, val 1); 1 left out" in said
    assert "segmentation: 2 images (masks of ids)" in tadp("data", "check", out, "--out", tmp_path / "check")
    assert "--val: found val 2.0 and test 0.0" in tadp("data", "import", data, "--out", out, "--val", "2", code=2)


def split_files(root, **splits):
    """Scenes of these splits, in a folder that nothing marks as Scenes."""
    for first, (split, count) in enumerate(splits.items()):
        write_scenes(
            root, task="segmentation", domain="photo", split=split, count=count, seed=0, first=9 * first, size=32
        )
        (root / f"scenes_{split}.json").unlink()
    return root


@pytest.mark.parametrize(
    ("splits", "settings"),
    [
        (("train", "val"), ""),
        (("day_train", "day_val", "dusk_test"), " --set data.train=day_train --set data.val=day_val"),
        (("trainval", "test"), " --set data.train=trainval --set data.val=test"),
        (("train", "holdout"), " --set data.val=holdout"),
        (("test",), " --set data.train=test --set data.val=test"),
    ],
)
def test_the_printed_settings_are_those_that_train_takes(tmp_path, splits, settings):
    """A folder with day_train.txt passed, and then failed in training."""
    root = split_files(tmp_path / "data", **dict.fromkeys(splits, 1))
    output = tadp("data", "check", root, "--out", tmp_path / "check")
    assert output.endswith(f"to train on it: tadp train segmentation --data {root}{settings}")
    assert ("is the only split with labels" in output) == (len(splits) == 1)
    recipe = load_recipe("segmentation", tuple(settings.split(" --set ")[1:]))
    for split in (recipe.data.train, recipe.data.val):
        assert len(open_data(root, "segmentation", split)) == 1


def test_without_a_split_file_it_cannot_be_trained_on(tmp_path):
    root = split_files(tmp_path / "data", train=1)
    (root / "train.txt").unlink()
    output = tadp("data", "check", root, "--out", tmp_path / "check", code=1)
    assert "problem: " in output
    assert "found no split file that lists an image with labels, expected train.txt and val.txt" in output
    assert "to train on it" not in output


def overlap(root):
    with (root / "val.txt").open("a") as file:
        file.write("train_00000\n")


def one_class(root):
    for file in (root / "masks").iterdir():
        Image.fromarray(255 * (np.array(Image.open(file)) > 0).astype(np.uint8)).save(file)


def broken_unlisted(root):
    for folder in ("images", "masks"):
        (root / folder / "spare.png").write_bytes(b"")


def unknown_test_image(root):
    (root / "test.txt").write_text("nowhere\n")


def broken(root):
    (root / "masks" / "val_00009.png").write_bytes(b"")


def unknown_id(root):
    with (root / "val.txt").open("a") as file:
        file.write("nowhere\n")


SPOILED = {
    overlap: "1 ids that are also in",
    one_class: "at most one class in all masks",
    broken_unlisted: "spare.png: found",
    unknown_test_image: "found id 'nowhere'",
    broken: "val_00009.png: found",
    unknown_id: "found id 'nowhere'",
}


@pytest.mark.parametrize("spoil", SPOILED)
def test_what_training_accepts_is_a_note_and_what_it_refuses_a_problem(tmp_path, spoil, caplog):
    """Overlapping splits, masks of one class and broken files that no split lists failed, and trained."""
    root = split_files(tmp_path / "data", train=2, val=1)
    spoil(root)
    recipe = load_recipe("segmentation", (f"data.folder={root}",))
    try:
        train, val = (open_data(root, "segmentation", split) for split in (recipe.data.train, recipe.data.val))
        check_splits(recipe, train, val)
        accepted = True
    except DataError:
        accepted = False
    assert accepted == (spoil not in (broken, unknown_id))
    assert ("images are in both training and evaluation, such as 'train_00000'" in caplog.text) == (spoil is overlap)
    output = tadp("data", "check", root, "--out", tmp_path / "check", code=int(not accepted))
    assert SPOILED[spoil] in output
    assert ("problem: " in output) == (not accepted)
    assert ("to train on it: tadp train" in output) == accepted
