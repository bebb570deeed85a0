"""Runs begun with other weights of the shipped model than those that are there."""

import pytest

from tadp_cli.config.recipe import load_recipe
from tadp_cli.run.resume import with_version
from tadp_cli.run.run import Run

RECIPE = load_recipe("scenes-segmentation").replace(**{"data.folder": "x"})


def test_a_run_records_the_version_of_the_shipped_model(tmp_path):
    Run(tmp_path).begin(with_version(RECIPE))
    assert load_recipe(tmp_path / "config.toml").backbone.version == 2
    Run(tmp_path).check(with_version(RECIPE), resume=True)


@pytest.mark.parametrize("written", [0, 1])  # the first version's runs name none
def test_a_run_begun_with_another_version_says_which_it_needs(tmp_path, written):
    Run(tmp_path).begin(RECIPE.replace(**{"backbone.version": written}))
    with pytest.raises(ValueError, match="begun with version 1 of the model 'tiny', and this tadp has version 2"):
        Run(tmp_path).check(with_version(RECIPE), resume=True)


@pytest.mark.parametrize(("source", "has"), [("tiny", "has version 2"), ("sd15", "only models that come with tadp")])
def test_a_recipe_that_asks_for_another_version_is_refused(source, has):
    with pytest.raises(ValueError, match=f"backbone.version is 1 for '{source}': .*{has}"):
        with_version(RECIPE.replace(**{"backbone.source": source, "backbone.version": 1}))


def test_weights_from_elsewhere_have_no_version():
    recipe = RECIPE.replace(**{"backbone.source": "some/folder"})
    assert with_version(recipe) is recipe
