"""The cross-domain workflow as one command."""

import json

import pytest
from invoking import tadp

from tadp_cli.workflows.adapting import scored_split
from tadp_heads.data.scenes_disk import write_scenes

SHORT = ("--set", "train.steps=2", "--set", "train.batch_size=2")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    for split, count in (("train", 6), ("val", 3)):
        write_scenes(root / "photos", task="detection", look="photo", split=split, count=count, seed=0)
    write_scenes(root / "paintings", task="detection", look="watercolor", split="test", count=3, seed=1)
    return root


def adapt(world, out, *arguments, target="paintings", code=0):
    places = ["--source", world / "photos", "--target", world / target, "--out", out]
    command = ["adapt", *places, "--domain", "watercolor", "--task", "detection", *SHORT, *arguments]
    return tadp(*command, code=code)


def test_a_target_with_labels_is_scored_and_nothing_is_done_twice(world, tmp_path):
    told = adapt(world, tmp_path, "--modifier", "simple")
    assert "paintings: the split test is scored (its only split with labels)" in told
    assert "paintings test: AP" in told
    assert not (tmp_path / "predictions").exists()
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert "test is scored (named by --split)" in adapt(world, tmp_path, "--modifier", "simple", "--split", "test")
    again = {path for path, time in made.items() if path.stat().st_mtime_ns != time}
    assert {path.name for path in again} <= {"paintings_tiny_min0_clean.jsonl"}
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert [entry["split"] for entry in results["evaluations"]] == ["val", "test"]
    assert "holds an adaptation with other settings" in adapt(world, tmp_path, "--modifier", "null", code=2)


def test_a_target_without_labels_is_predicted_and_it_is_said_why(world, tmp_path):
    told = adapt(world, tmp_path, "--modifier", "simple", target="paintings/JPEGImages")
    assert "JPEGImages: predicted, not scored (it has no labels for detection)" in told
    assert len(list((tmp_path / "predictions").glob("*_overlay.png"))) == 3
    evaluations = json.loads((tmp_path / "run/results.json").read_text())["evaluations"]
    assert [entry["split"] for entry in evaluations] == ["val"]


def test_which_split_is_scored(world, tmp_path):
    photos, extra = str(world / "photos"), tmp_path / "extra"
    assert scored_split(photos, "detection", "") == ("val", "it has labels in train, val; --split names another")
    assert scored_split(photos, "detection", "train") == ("train", "named by --split")
    assert scored_split(photos, "depth", "") == ("", "it has no labels for depth")
    for split in ("train", "first"):
        write_scenes(extra, task="depth", look="photo", split=split, count=1, seed=0, size=32)
    with pytest.raises(ValueError, match="labels in the splits first, train: name one of them with --split"):
        scored_split(str(extra), "depth", "")
    for split in ("val", "test"):
        write_scenes(extra, task="depth", look="photo", split=split, count=1, seed=0, size=32)
    assert scored_split(str(extra), "depth", "")[0] == "test"
    for file in extra.glob("*.txt"):
        file.unlink()
    split, why = scored_split(str(extra), "depth", "")
    assert split == ""
    assert "it has labels, but no split file with an image that has one; write test.txt" in why


def test_labels_of_other_classes_are_refused_before_anything_is_done(world, tmp_path):
    write_scenes(tmp_path / "target", task="detection", look="comic", split="test", count=1, seed=1)
    (tmp_path / "target" / "classes.txt").write_text("zebra\n")
    told = adapt(world, tmp_path / "out", "--modifier", "simple", target=tmp_path / "target", code=2)
    assert "classes zebra are not among those of the model" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # learns a token
def test_a_target_without_labels_is_learnt_from_and_predicted(world, tmp_path):
    told = adapt(world, tmp_path, target="paintings/JPEGImages")
    assert "predicted: 3 pictures" in told
    assert (tmp_path / "looks/watercolor/textual-inversion/learned_embeds.safetensors").is_file()
    recipe = (tmp_path / "run/config.toml").read_text()
    assert 'token = "<watercolor>"' in recipe
    assert len(list((tmp_path / "predictions").glob("*_overlay.png"))) == 3


def test_several_processes_are_refused(world, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "tadp adapt runs in one process, not in 2" in adapt(world, tmp_path, code=2)


def test_bad_input_is_one_line(world, tmp_path):
    assert "unknown domain 'cubism'" in adapt(world, tmp_path, "--domain", "cubism", code=2)
    assert "unknown prompt.modifier 'style'" in adapt(world, tmp_path, "--modifier", "style", code=2)
    assert not (tmp_path / "adapt.json").exists()
