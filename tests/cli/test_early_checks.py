"""What would fail or mean nothing after hours of training is said before it."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from tadp_cli.config.recipe import load_recipe
from tadp_cli.inputs.preflight_checks import check_images, check_protocol, check_target
from tadp_heads.data.errors import DataError
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.segmentation import MeanIoU
from tadp_heads.training.evaluation import warn_of_metrics


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, task="segmentation", domain="photo", split="train", count=2, seed=0)
    return folder


def recipe(scenes, **changes):
    return load_recipe("scenes-segmentation").replace(**{"data.folder": str(scenes), **changes})


def black_and_white(folder, value=255):
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for i in range(20):
        Image.new("RGB", (8, 8)).save(folder / "images" / f"{i}.png")
        mask = np.zeros((8, 8), np.uint8)
        mask[2:6, 2:6] = value
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    (folder / "classes.txt").write_text("background\nbuilding\n")


def test_masks_of_0_and_255_are_said_before_training(tmp_path, caplog):
    black_and_white(tmp_path)
    check_images(open_data(tmp_path), str(tmp_path), "train")
    assert "at most one class in all masks, and 255 (ignored)" in caplog.text


def test_labelled_masks_are_not(scenes, caplog):
    check_images(open_data(scenes), str(scenes), "train")
    assert caplog.text == ""


def test_a_malformed_file_among_the_first_is_an_error_before_training(tmp_path):
    black_and_white(tmp_path, value=1)
    (tmp_path / "images" / "3.png").write_text("no image")
    with pytest.raises(DataError, match=r"3\.png: found no image data"):
        check_images(open_data(tmp_path), str(tmp_path), "train")


def test_a_split_without_images_is_an_error(scenes):
    dataset = open_data(scenes)
    dataset.ids = ()
    with pytest.raises(ValueError, match="the split 'val' has no images"):
        check_images(dataset, str(scenes), "val")


def test_protocol_and_target_are_looked_at_before_training(scenes, tmp_path):
    with pytest.raises(ValueError, match="unknown segmentation protocol 'x'; choose from"):
        check_protocol(recipe(scenes, protocol="x"))
    with pytest.raises(DataError, match="found no folder"):
        check_target(recipe(scenes, **{"test.folder": str(tmp_path / "none"), "test.split": "train"}))
    black_and_white(tmp_path)
    (tmp_path / "test.txt").write_text("1\n")
    with pytest.raises(ValueError, match=r"has the classes background, building, and the source"):
        check_target(recipe(scenes, **{"test.folder": str(tmp_path), "test.split": "test"}))
    (tmp_path / "c.jsonl").write_text('{"id": "x", "caption": "a dog"}\n')
    target = {"test.folder": str(scenes), "test.split": "train", "test.captions": str(tmp_path / "c.jsonl")}
    with pytest.raises(ValueError, match="no caption for 2 of 2 images"):
        check_target(recipe(scenes, **target))


@pytest.mark.parametrize(
    ("truth", "said"), [(0, "of one class alone: no pixel of this split has b"), (255, "not defined")]
)
def test_metrics_of_nothing_are_said_to_be_so(caplog, truth, said):
    metric = MeanIoU(("a", "b"))
    metric.update(torch.zeros(4, 4, dtype=torch.int64), torch.full((4, 4), truth))
    with caplog.at_level(logging.WARNING):
        warn_of_metrics("segmentation", metric, metric.compute())
    assert said in caplog.text
