"""docs/extending.md: its examples are complete files; all of them are loaded, and one small run uses most of them."""

import re

import numpy as np
import pytest
import torch
from invoking import tadp
from PIL import Image

from tadp_captioning import RuleCleaner, modify
from tadp_cli.plugins import load_plugins
from tadp_heads import get_task
from tadp_heads.data.registry import check_data, open_data
from tadp_heads.data.scenes.write import write_scenes

PARTS = ("head", "task", "dataset", "captioner", "backbone", "prompt", "domain")


@pytest.fixture
def files(repository, tmp_path, own_registries):
    """The guide's Python blocks by their names, as files; nothing else in the guide is Python."""
    guide = (repository / "docs" / "extending.md").read_text()
    blocks = re.findall(r"^```python\n# (my_\w+\.py)\n(.*?)^```$", guide, flags=re.DOTALL | re.MULTILINE)
    assert guide.count("```python") == len(blocks)
    written = {}
    for name, text in blocks:
        written[name] = tmp_path / name
        written[name].write_text(text)
    return written


def test_the_guide_has_a_file_for_each_kind_of_part(files):
    assert set(files) == {f"my_{part}.py" for part in PARTS}


def test_a_run_with_a_task_a_data_set_a_captioner_and_a_backbone_of_ones_own(files, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # paths are printed whole however narrow the terminal is
    scenes, run, out = tmp_path / "scenes", tmp_path / "run", tmp_path / "predictions"
    for split, count in (("train", 3), ("val", 2)):
        write_scenes(scenes, task="segmentation", domain="photo", split=split, count=count, seed=0)
    plugins = [word for file in files.values() for word in ("--plugin", file)]
    settings = (
        "task=tags",
        "head.name=pool",
        "backbone.source=tiny-noisy",
        "data.captioner=sizes",
        "prompt.kind=short",
    )
    settings = [word for s in (*settings, "train.steps=2", "train.batch_size=2") for word in ("--set", s)]
    output = tadp("train", "scenes-segmentation", "--data", f"tags:{scenes}", *settings, *plugins, "--out", run)
    assert re.search(rf"tags:{re.escape(str(scenes))} val: accuracy [01]\.\d", output), output
    assert "a tall image" in (run / "captions.jsonl").read_text()
    assert '"noise": true' in (run / "backbone" / "config.json").read_text()
    tadp("predict", run, scenes / "images" / "val_00000.png", *plugins, "--out", out)
    assert (out / "val_00000_tags.txt").is_file()
    assert '"prompt": "a tall"' in (out / "captions.jsonl").read_text()
    assert '"kind": "short"' in (run / "config.json").read_text()
    assert "accuracy in percent, higher is better" in tadp("report", run, "--images", "0", *plugins)


def test_the_other_parts_do_what_the_guide_says(files, tmp_path):
    load_plugins([files["my_head.py"], files["my_dataset.py"], files["my_domain.py"]])
    head = get_task("depth").build_head(((8, 4), (16, 8)), (), name="mlp", width=4)
    assert head([torch.rand(2, 8, 4, 6), torch.rand(2, 16, 2, 3)]).shape == (2, 1, 4, 6)

    for split in ("train", "val"):
        (tmp_path / "stripes" / split).mkdir(parents=True)
        Image.new("RGB", (20, 10)).save(tmp_path / "stripes" / split / "a.png")
        np.save(tmp_path / "stripes" / split / "a.npy", np.eye(10, 20, dtype=np.uint8))
    where = f"stripes:{tmp_path / 'stripes'}"
    assert open_data(where, "segmentation", "val")[0].target.sum() == 10
    assert [report.histogram for report in check_data(where)] == [{"background": 190, "stripe": 10}] * 2

    assert modify("a hand", "x-ray", "textual-inversion") == "a <x-ray> image of a hand"
    assert "x-ray" not in RuleCleaner("x-ray").clean_one("an x-ray image of a hand")
