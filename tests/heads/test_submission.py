"""Masks for an evaluation server of street scenes."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from tadp_heads.data.readers.driving import CITYSCAPES_CLASSES
from tadp_heads.segmentation.submission import write_submission


@pytest.fixture
def predictions(tmp_path):
    folder = tmp_path / "predictions"
    (folder / "GOPR0475").mkdir(parents=True)
    mask = Image.fromarray(np.array([[0, 18], [13, 2]], np.uint8))
    mask.save(folder / "GOPR0475" / "frame_1_rgb_anon_mask.png")
    (folder / "classes.json").write_text(json.dumps([{"name": name} for name in CITYSCAPES_CLASSES]))
    return folder


@pytest.mark.parametrize(("ids", "expected"), [("label", [[7, 33], [26, 11]]), ("train", [[0, 18], [13, 2]])])
def test_each_mask_lies_under_its_images_name(predictions, tmp_path, ids, expected):
    assert write_submission(predictions, tmp_path / "out.zip", ids) == 1
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == ["GOPR0475/frame_1_rgb_anon.png"]
        with archive.open(archive.namelist()[0]) as file, Image.open(file) as image:
            assert image.mode == "L"
            assert np.array(image).tolist() == expected
    first = (tmp_path / "out.zip").read_bytes()
    write_submission(predictions, tmp_path / "out.zip", ids)
    assert (tmp_path / "out.zip").read_bytes() == first


def test_other_classes_and_folders_are_reported(predictions, tmp_path):
    with pytest.raises(ValueError, match="expected label or train"):
        write_submission(predictions, tmp_path / "out.zip", "colours")
    (predictions / "classes.json").write_text('[{"name": "cat"}]')
    with pytest.raises(ValueError, match="masks of cat"):
        write_submission(predictions, tmp_path / "out.zip")
    (predictions / "classes.json").unlink()
    with pytest.raises(ValueError, match="no file"):
        write_submission(predictions, tmp_path / "out.zip")
