"""What a run names and has evaluated is the same from every working directory, and a run need not be writable."""

import os
from types import SimpleNamespace

import pytest

from tadp_cli.config.paths import absolute, with_absolute_paths
from tadp_cli.config.recipe import load_recipe
from tadp_cli.inputs import prepare
from tadp_cli.pipelines import evaluate
from tadp_cli.pipelines.train import train
from tadp_cli.run.records import place_of
from tadp_cli.run.run import Run
from tadp_heads.data.scenes.write import write_scenes


@pytest.fixture
def two_places(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "d").mkdir(parents=True)
    return tmp_path


def test_paths_of_a_recipe_become_absolute_and_names_stay(two_places, monkeypatch):
    monkeypatch.chdir(two_places / "a")
    recipe = load_recipe("scenes-segmentation").replace(**{"data.folder": "d", "test.folder": "cityscapes:d"})
    found = with_absolute_paths(recipe)
    assert (found.data.folder, found.test.folder) == (f"{two_places}/a/d", f"cityscapes:{two_places}/a/d")
    assert (found.backbone.source, found.data.captions) == ("tiny", "")
    assert with_absolute_paths(found) is found
    assert absolute("") == ""


def test_a_folder_of_another_working_directory_is_not_resumed_with(two_places, monkeypatch):
    recipe = load_recipe("scenes-segmentation").replace(**{"data.folder": "d"})
    monkeypatch.chdir(two_places / "a")
    Run(two_places / "run").begin(with_absolute_paths(recipe))
    Run(two_places / "run").check(recipe, resume=True)
    monkeypatch.chdir(two_places / "b")
    with pytest.raises(ValueError, match=r"data\.folder was '.*/a/d', is now '.*/b/d'"):
        Run(two_places / "run").check(recipe, resume=True)


def test_an_evaluation_is_of_the_folder_and_not_of_its_name(two_places, monkeypatch):
    monkeypatch.chdir(two_places / "a")
    entry = {"data": absolute("d"), "split": "val", "metrics": {}}
    assert place_of(entry) == place_of({**entry, "data": "d"})
    monkeypatch.chdir(two_places / "b")
    assert place_of(entry) != place_of({**entry, "data": "d"})


def test_captions_for_a_run_that_cannot_be_written_to_are_kept_in_the_cache(monkeypatch, tmp_path):
    assert evaluate.captions_folder(tmp_path) == tmp_path / "captions"
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert evaluate.captions_folder(tmp_path).is_relative_to(tmp_path / "cache" / "tadp" / "captions")
    assert evaluate.captions_folder(tmp_path) != evaluate.captions_folder(tmp_path / "other")


def test_a_state_is_not_resumed_on_other_images(tmp_path):
    write_scenes(tmp_path / "d", task="segmentation", domain="photo", split="train", count=2, seed=0)
    recipe = load_recipe("scenes-segmentation").replace(
        **{"data.folder": str(tmp_path / "d"), "data.val": "train", "train.steps": 1, "train.batch_size": 1},
        **{"prompt.kind": "empty"},
    )
    train(recipe, tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink()
    (tmp_path / "d" / "train.txt").write_text("train_00001\n")
    with pytest.raises(ValueError, match="was begun on other images than the 1 that its split has now"):
        train(recipe, tmp_path / "run", resume=True)


def test_a_domain_learned_from_other_images_is_not_taken_for_this_ones(tmp_path, monkeypatch):
    learned = []
    monkeypatch.setattr(prepare, "learn", lambda **how: learned.append(how) or SimpleNamespace(finished=True, steps=1))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_text(name)

    def learn_from(images):
        arguments = ("watercolor", "textual-inversion", "tiny", images, None, "cpu", None)
        prepare.learn_domain(tmp_path / "out", *arguments)

    learn_from(tmp_path / "a")
    (tmp_path / "out" / "domains" / "watercolor" / "textual-inversion" / "results.json").write_text("{}")
    (tmp_path / "a").rename(tmp_path / "moved")
    learn_from(tmp_path / "moved")
    learn_from([tmp_path / "moved" / "1.png"])
    assert len(learned) == 1
    with pytest.raises(ValueError, match="holds what was learned of watercolor with other settings"):
        learn_from(tmp_path / "b")
