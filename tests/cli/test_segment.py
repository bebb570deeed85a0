"""`tadp segment`: masks of images by the names of classes alone."""

import json

import numpy as np
import pytest
from invoking import tadp
from PIL import Image

from tadp_cli.deployment.segment import class_list
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import sample_scene


def test_it_writes_what_predict_writes_and_resumes(tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for seed in range(2):
        Image.fromarray(render(sample_scene(3, seed), "photo").image).save(photos / f"{seed}.png")
    call = ("segment", photos, "--classes", "tree, house ,tree", "--out", out, "--backbone", "tiny", "--device", "cpu")
    assert "2 segmented, 0 were there already" in tadp(*call)
    ids = np.array(Image.open(out / "0_mask.png"))
    assert ids.shape == (64, 64)
    assert set(np.unique(ids)) <= {0, 1, 2}
    assert len(np.unique(ids)) > 1
    assert {file.name for file in out.iterdir()} >= {"0_overlay.png", "1_mask.png", "legend.png", "classes.json"}
    assert [row["name"] for row in json.loads((out / "classes.json").read_text())] == ["background", "tree", "house"]
    (out / "1_overlay.png").unlink()
    assert "1 segmented, 1 were there already" in tadp(*call)
    assert "other settings" in tadp(*call, "--threshold", "0.3", code=2)
    (photos / "broken.png").write_text("no image")
    assert "failed: " in tadp(*call, code=1)


def test_the_background_is_not_listed_and_names_are_needed():
    assert class_list("dog, Background,  potted   plant,") == ("dog", "potted plant")
    with pytest.raises(ValueError, match="expected names separated by commas"):
        class_list(" , ")
