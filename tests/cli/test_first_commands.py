"""The commands as they are typed first, in an empty folder: on Scenes and the tiny models, without an option."""

import json
import os

import pytest
from invoking import tadp

from tadp_cli.inputs import scenes_data
from tadp_cli.run.finished import newest_run
from tadp_heads.data.scenes.marker import is_scenes

NEXT = "on your own data: tadp "
ONE_LEVEL = ("--set", "held_out_timesteps=1")


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def few(monkeypatch):
    """Few Scenes, where they are written."""
    monkeypatch.setattr(scenes_data, "IMAGES", {"train": 4, "val": 2, "test": 2, "domain": 2})


def run_all(train=(), personalize=()):
    """The four commands, each of which ends with the next command."""
    outputs = {
        "caption": tadp("caption"),
        "personalize": tadp("personalize", "--domain", "watercolor", *personalize),
        "train": tadp("train", *train),
        "eval": tadp("eval"),
    }
    for command, output in outputs.items():
        assert output.rpartition(NEXT)[2].startswith(command), output
        assert "WARNING" not in output
    return outputs


def written_by_the_four(folder, images):
    captions = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    assert len(captions) == images
    assert {line["captioner"] for line in captions} == {"tiny"}
    assert (folder / "domains/watercolor/textual-inversion/learned_embeds.safetensors").is_file()
    (entry,) = json.loads((folder / "runs/scenes-segmentation/results.json").read_text())["evaluations"]
    assert entry["data"] == str(folder / "data/scenes/segmentation/photo")
    return entry["metrics"]["mIoU"]


def test_the_first_commands_make_and_use_their_own_data(empty, few):
    outputs = run_all(
        ("--set", "train.steps=1", "--set", "train.batch_size=2"), ("--steps", "1", "--count", "3", *ONE_LEVEL)
    )
    assert 0 <= written_by_the_four(empty, 6) <= 1
    assert "runs/scenes-segmentation/results.json" in outputs["eval"]
    assert "domains/watercolor/textual-inversion" in outputs["personalize"]
    assert "6 were there already" in tadp("caption"), "and the data are not written again"


@pytest.mark.slow  # minutes
def test_the_first_commands_verbatim(empty):
    run_all()
    assert written_by_the_four(empty, 450) > 0.15


def test_a_recipe_of_a_domain_brings_its_target_and_another_task_its_own_data(empty, few):
    small = ("train.steps=1", "train.batch_size=2", "head.fpn_channels=16", "head.representation_size=32")
    output = tadp("train", "scenes-watercolor", *(f"--set={setting}" for setting in (*small, "prompt.kind=empty")))
    assert "watercolor test: AP" in output
    assert "run: runs/scenes-watercolor" in output
    assert is_scenes("data/scenes/detection/watercolor")
    assert len(list((empty / "data/scenes/detection/photo/JPEGImages").iterdir())) == 6


def test_adapt_makes_scenes_in_both_domains(empty, few):
    short = ("--set", "train.steps=1", "--set", "train.batch_size=2", "--set", "head.width=16")
    output = tadp("adapt", "--domain", "night", "--modifier", "simple", "--no-baseline", "--out", "adapted", *short)
    assert "WARNING" not in output
    assert "night: the split test is evaluated (it has labels in test, train; --split names another)" in output
    source, target = (str(empty / "data/scenes/segmentation" / domain) for domain in ("photo", "night"))
    evaluations = json.loads((empty / "adapted/run/results.json").read_text())["evaluations"]
    assert [(entry["data"], entry["split"]) for entry in evaluations] == [(source, "val"), (target, "test")]
    assert "mIoU" in tadp("eval", "adapted")


def test_a_recipe_of_large_models_asks_for_data(empty):
    assert "no data set: name its folder with --data" in tadp("train", "segmentation", code=2)
    assert not any(empty.iterdir())


def test_without_a_run_there_is_nothing_to_evaluate(empty):
    assert "no finished run below runs: name one, or make one with `tadp train`" in tadp("eval", code=2)


def test_the_newest_run_is_the_one_whose_results_are_newest(tmp_path):
    for age, name in enumerate(("a", "b/run", "a/best")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.toml").touch()
        (tmp_path / name / "results.json").touch()
        os.utime(tmp_path / name / "results.json", (age, age))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "results.json").touch()
    assert newest_run(tmp_path) == tmp_path / "b/run"
