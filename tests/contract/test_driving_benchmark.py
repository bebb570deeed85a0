"""benchmarks/driving.py from a user's folder to its table, small."""

import json

import driving
import pytest
import torch
from driving_unet import UNet
from PIL import Image

from tadp_heads.data.scenes.write import write_scenes

SETTINGS = ("train.steps=2", "train.batch_size=2", "train.warmup=0", "head.width=16")


@pytest.fixture
def folder(tmp_path):
    for seed, (split, count) in enumerate({"by_day": 4, "val": 2, "by_night": 2}.items()):
        domain = "night" if split == "by_night" else "photo"
        write_scenes(tmp_path / "data", task="segmentation", domain=domain, split=split, count=count, seed=seed)
    return tmp_path / "data"


def test_both_models_get_the_same_time_and_an_evaluation_per_split(folder, tmp_path, capsys):
    out = tmp_path / "driving.json"
    chosen = [part for setting in SETTINGS for part in ("--set", setting)]
    driving.main([str(folder), "--train", "by_day", "--test", "val", "by_night", "--out", str(out), *chosen])
    rows = json.loads(out.read_text())["rows"]
    assert [(row["model"], row["scored on"], row["images"]) for row in rows] == [
        ("tiny", "val", 2),
        ("tiny", "by_night", 2),
        ("U-Net from scratch", "val", 2),
        ("U-Net from scratch", "by_night", 2),
    ]
    assert all(0 <= row["mIoU %"] <= row["mAcc %"] <= 100 for row in rows), "IoU is at most recall, class by class"
    seconds = rows[0]["CPU s"]
    assert seconds <= rows[2]["CPU s"] < 2 * seconds, "until the time is up, and a step"
    assert rows[2]["steps"] > rows[0]["steps"] == 2
    assert "| tiny | by_day | 2 |" in capsys.readouterr().out


def test_frames_in_another_size_keep_their_classes(folder, tmp_path):
    small = driving.resized(folder, tmp_path / "small", ("val",), 0.5)
    with Image.open(folder / "masks" / "val_00000.png") as mask, Image.open(small / "masks" / "val_00000.png") as half:
        assert half.size == (32, 32)
        assert set(half.get_flattened_data()) <= set(mask.get_flattened_data())
    assert sorted(path.name for path in small.iterdir()) == ["classes.txt", "images", "masks", "val.txt"]


@torch.no_grad()
def test_the_network_takes_any_size():
    net = UNet(5, width=4).eval()
    for parameter in net.parameters():
        parameter.abs_()  # no unit is off: what a level sees reaches the logits
    images = torch.zeros(2, 3, 11, 61)
    images[1, :, 0, 0] = 1
    logits = net(images)
    assert logits.shape == (2, 5, 11, 61)
    seen = (logits[0] != logits[1]).all(0).all(0)
    assert seen.nonzero().max() == 45, "seen at the coarsest level; the others see 30 columns"
