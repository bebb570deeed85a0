"""Settings that were removed: ignored at their default where an old file has them, else named in one line."""

import pytest

from tadp_cli.config.recipe import load_recipe
from tadp_cli.config.removed import REMOVED, without_removed
from tadp_cli.config.schema import toml
from tadp_cli.run.guard import claim
from tadp_heads.atomic_files import write_json
from tadp_heads.schema import SettingError

OLD = {"train.speed": 1.0, "mode": "slow"}


def test_at_their_default_they_are_left_out():
    tree = {"mode": "slow", "train": {"speed": 1.0, "steps": 3}, "data": {}}
    assert without_removed(tree, OLD) == {"train": {"steps": 3}, "data": {}}
    assert tree["train"]["speed"] == 1.0, "the tree that was given is left as it is"
    assert without_removed({"train": 3}, OLD) == {"train": 3}


@pytest.mark.parametrize(("tree", "name"), [({"train": {"speed": 2}}, "train.speed"), ({"mode": "fast"}, "mode")])
def test_otherwise_they_are_named(tree, name):
    with pytest.raises(SettingError, match=f"^{name} is .*: the setting was removed, and only its default"):
        without_removed(tree, OLD)


def test_an_old_run_is_read_and_its_line_named_where_it_cannot_be(tmp_path):
    text = "train.steps = 3\n" + "".join(f"{name} = {toml(default)}\n" for name, default in REMOVED.items())
    (tmp_path / "run.toml").write_text(text)
    assert load_recipe(tmp_path / "run.toml").train.steps == 3
    (tmp_path / "run.toml").write_text("train.steps = 3\ntrain.layer_decay = 0.9\n")
    with pytest.raises(ValueError, match=r"run.toml, line 2: train.layer_decay is 0.9: the setting was removed"):
        load_recipe(tmp_path / "run.toml")


def test_a_folder_that_was_begun_with_them_resumes(tmp_path):
    recipe = {"train": {"steps": 3}}
    write_json(tmp_path / "adapt.json", {"recipe": {"train": {"steps": 3, "layer_decay": 1.0}}})
    claim(tmp_path / "adapt.json", {"recipe": recipe}, "an adaptation")
    write_json(tmp_path / "adapt.json", {"recipe": {"train": {"steps": 3, "layer_decay": 0.5}}})
    with pytest.raises(ValueError, match=r"adapt.json: train.layer_decay is 0.5: .*; leave it out; or name another"):
        claim(tmp_path / "adapt.json", {"recipe": recipe}, "an adaptation")
