"""The cross-domain workflow as one command."""

import json

import pytest
from invoking import tadp

from tadp_heads.data.scenes_disk import write_scenes

SHORT = ("--set", "train.steps=2", "--set", "train.batch_size=2")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    for split, count in (("train", 6), ("val", 3)):
        write_scenes(root / "photos", task="detection", look="photo", split=split, count=count, seed=0)
    write_scenes(root / "paintings", task="detection", look="watercolor", split="test", count=3, seed=1)
    return root


def adapt(world, out, *arguments, code=0):
    places = ["--source", world / "photos", "--target", world / "paintings", "--out", out]
    command = ["adapt", *places, "--domain", "watercolor", "--task", "detection", *SHORT, *arguments]
    return tadp(*command, code=code)


def test_a_target_with_labels_is_scored_and_nothing_is_done_twice(world, tmp_path):
    assert "paintings test: AP" in adapt(world, tmp_path, "--modifier", "simple", "--split", "test")
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    adapt(world, tmp_path, "--modifier", "simple", "--split", "test")
    again = {path for path, time in made.items() if path.stat().st_mtime_ns != time}
    assert {path.name for path in again} <= {"paintings_tiny_min0_clean.jsonl"}
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert [entry["split"] for entry in results["evaluations"]] == ["val", "test"]
    assert "holds an adaptation with other settings" in adapt(world, tmp_path, "--modifier", "null", code=2)


@pytest.mark.slow  # learns a token
def test_a_target_without_labels_is_learnt_from_and_predicted(world, tmp_path):
    told = adapt(world, tmp_path)
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
