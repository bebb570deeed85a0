"""Recipes: typed, checked, settable, and written so that they read back the same."""

import pytest

from tadp_cli.recipes.recipe import Recipe, load_recipe, shipped_recipes


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_and_reads_back(name, tmp_path):
    recipe = load_recipe(name)
    (tmp_path / "again.toml").write_text(recipe.to_toml())
    assert load_recipe(tmp_path / "again.toml") == recipe


def test_settings_replace_values_by_dotted_name():
    recipe = load_recipe("scenes-segmentation", ("train.steps=7", "train.flip=false", "data.folder=my data"))
    assert (recipe.train.steps, recipe.train.flip, recipe.data.folder) == (7, False, "my data")


def test_quotes_and_backslashes_survive(tmp_path):
    recipe = Recipe().replace(**{"data.folder": 'a "b" \\ c'})
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    assert load_recipe(tmp_path / "r.toml") == recipe


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.stepz=3", "unknown setting 'stepz'; choose from steps"),
        ("train.steps=many", "train: steps is 'many', expected int"),
        ("train.steps=0", "train.steps is 0, expected at least 1"),
        ("train.flip=1", "flip is 1, expected bool"),
        ("train.steps", "expected key=value"),
        ("prompt.kind=poem", "unknown prompt.kind 'poem'; choose from empty"),
        ("prompt.modifier=simple", "needs prompt.domain"),
        ("task=pose", "unknown task 'pose'"),
        ("task.x=1", "is no section"),
    ],
)
def test_a_wrong_setting_is_named(setting, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("scenes-segmentation", (setting,))


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown recipe 'nothing'.*scenes-segmentation"):
        load_recipe("nothing")


def test_broken_toml_names_the_file_and_the_line(tmp_path):
    (tmp_path / "bad.toml").write_text("task = \n")
    with pytest.raises(ValueError, match=r"bad\.toml: .*line 1"):
        load_recipe(tmp_path / "bad.toml")
