"""The images of a split, by the ids of the data set's reader, whether they have labels or not."""

import pytest
from PIL import Image

from tadp_heads.data.errors import DataError
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.data.split_images import domain_split, split_images


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


def test_a_driving_data_set_has_splits_without_labels(tmp_path):
    """Label maps, which are PNG files too, are no images."""
    for split, name in (("train/night", "GOPR1/a"), ("train/day", "GOPR2/b"), ("val", "night/GOPR3/c")):
        picture(tmp_path / "rgb_anon" / split / f"{name}_rgb_anon.png")
    picture(tmp_path / "gt" / "val" / "night" / "GOPR3" / "c_gt_labelTrainIds.png")
    where = f"dark-zurich:{tmp_path}"
    assert list(split_images(where, "train/night")) == ["GOPR1/a_rgb_anon"]
    assert (
        tuple(split_images(where, "val")) == open_data(where, "segmentation", "val").ids == ("night/GOPR3/c_rgb_anon",)
    )
    assert domain_split(where) == "train/night"
    with pytest.raises(DataError, match="the images of dark-zurich's split test"):
        split_images(where, "test")
    with pytest.raises(ValueError, match="name one of its splits val"):
        split_images(where, "")


def test_splits_of_boxes_and_of_a_folder_without_labels(tmp_path):
    for split, seed in (("train", 0), ("test", 1)):
        write_scenes(tmp_path, task="detection", domain="watercolor", split=split, count=2, seed=seed, size=32)
    where = f"watercolor2k:{tmp_path}"
    for split in ("train", "test"):
        assert tuple(split_images(where, split)) == open_data(tmp_path, "detection", split).ids
        assert split_images(tmp_path, split) == split_images(where, split)
    assert domain_split(where) == "train"
    assert domain_split(tmp_path) == ""
    with pytest.raises(ValueError, match="has no split 'val'"):
        split_images(where, "val")
    bare = tmp_path / "bare"
    picture(bare / "images" / "x.png")
    picture(bare / "images" / "y.png")
    (bare / "first.txt").write_text("x\n")
    assert split_images(bare, "first") == {"x": bare / "images" / "x.png"}
