"""Real driving frames in the layout of a user's data: trained by day, evaluated by day and at dusk."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from tadp_cli.main import app

COUNTS = {"day_train": 4, "day_val": 2, "dusk_test": 2}


@pytest.fixture
def frames(shared_data, tmp_path):
    """A few frames of each split, at a third of their size: attention at 480x360 takes a CPU minutes."""
    root, folder = shared_data / "camvid", tmp_path / "camvid"
    if not root.is_dir():
        pytest.skip("no driving frames there")
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.txt").write_text((root / "classes.txt").read_text())
    for split, count in COUNTS.items():
        ids = (root / f"{split}.txt").read_text().split()[:count]
        (folder / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for image_id in ids:
            with Image.open(root / "images" / f"{image_id}.jpg") as image:
                image.resize((160, 120)).save(folder / "images" / f"{image_id}.jpg")
            with Image.open(root / "masks" / f"{image_id}.png") as mask:
                mask.resize((160, 120), Image.Resampling.NEAREST).save(folder / "masks" / f"{image_id}.png")
    return folder


def tadp(*arguments) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output + str(result.exception)
    return " ".join(result.output.split())


def test_trained_by_day_and_evaluated_by_day_and_at_dusk(frames, tmp_path):
    run = tmp_path / "run"
    settings = ("data.train=day_train", "data.val=day_val", f"test.folder={frames}", "test.split=dusk_test")
    settings += ("prompt.kind=class-names", "train.transform=user", "train.size=64", "train.batch_size=2")
    settings += ("train.steps=2", "train.warmup=0", "head.width=16", "train.unet_lr_scale=0.1")
    chosen = [part for setting in settings for part in ("--set", setting)]
    said = tadp("train", "scenes-segmentation", "--data", frames, "--out", run, "--device", "cpu", *chosen)
    assert "day_val: mIoU" in said
    evaluations = json.loads((run / "results.json").read_text())["evaluations"]
    assert [row["split"] for row in evaluations] == ["day_val", "dusk_test"]
    assert all(0 <= row["metrics"]["mIoU"] < 1 for row in evaluations)
    assert evaluations[0]["metrics"] != evaluations[1]["metrics"]
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses[0] == pytest.approx(2.4, abs=0.6), "ln 11 of eleven classes, nothing learned yet"
