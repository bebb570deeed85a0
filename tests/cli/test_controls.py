"""Controls: what the head is given, and the runs at toy size."""

import json

import pytest
import torch

from tadp_backbone import DiffusionBackbone
from tadp_cli.experiments import controls
from tadp_cli.experiments.controls import HEAD_INPUTS, MAPS_BY_CLASS, NAMES, NO_MAPS, ControlBackbone, run_controls
from tadp_heads.data.scenes.shapes import CLASSES


@pytest.fixture(scope="module")
def tiny():
    return DiffusionBackbone.from_pretrained("tiny").freeze()


@pytest.mark.parametrize("head_input", HEAD_INPUTS, ids=lambda h: h.title)
def test_levels_are_as_declared(tiny, head_input):
    backbone = ControlBackbone(tiny, head_input)
    features = backbone(torch.zeros(2, 3, 64, 64), backbone.encode_text(["a ring", ""]))
    assert [level.shape[1] for level in features.levels] == [level.channels for level in backbone.levels]


def test_class_maps_are_those_of_the_words_wherever_they_stand(tiny):
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    text = "a ring and two moons"
    plain = tiny(images, tiny.encode_text([text]))
    stride = tiny.config.map_strides[0]
    level = next(i for i, level in enumerate(tiny.levels) if level.stride == stride)
    given = {}
    for head_input in (NO_MAPS, MAPS_BY_CLASS, NAMES):
        backbone = ControlBackbone(tiny, head_input)
        given[head_input] = backbone(images, backbone.encode_text([text])).levels[level][0]
    unet = plain.levels[level][0, :-77]
    torch.testing.assert_close(given[NO_MAPS], unet)
    maps, named = given[MAPS_BY_CLASS][len(unet) :], given[NAMES][len(unet) :]
    ring, moon = CLASSES.index("ring"), CLASSES.index("moon")
    torch.testing.assert_close(maps[ring], plain.attention[stride][0, 2])
    torch.testing.assert_close(maps[moon], plain.attention[stride][0, 5])
    assert [CLASSES[k] for k in range(len(CLASSES)) if maps[k].any()] == ["ring", "moon"]
    assert torch.equal(named.amax(dim=(1, 2)).nonzero().flatten(), torch.tensor(sorted((ring, moon))))
    assert torch.equal(named.amin(dim=(1, 2)), named.amax(dim=(1, 2)))


def test_runs_that_are_there_are_not_made_again(tmp_path, monkeypatch):
    few = HEAD_INPUTS[-2:]
    monkeypatch.setattr(controls, "HEAD_INPUTS", few)
    settings = {"train_images": 3, "scored_images": 2, "steps": 1, "device": "cpu", "report": lambda *_: None}
    rows = run_controls(tmp_path, seeds=1, **settings)
    assert len(rows) == 2 * len(few)
    assert all(0 <= row["mIoU"] <= 1 for row in rows)
    before = (tmp_path / "controls.json").stat().st_mtime_ns
    assert run_controls(tmp_path, seeds=1, **settings) == rows
    assert (tmp_path / "controls.json").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "controls.json").read_text())["rows"] == rows
    with pytest.raises(ValueError, match="other settings"):
        run_controls(tmp_path, seeds=1, **{**settings, "steps": 2})
