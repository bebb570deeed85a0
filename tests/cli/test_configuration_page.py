"""Every setting is explained once, in the docstring of its field: config.toml and docs/configuration.md repeat it."""

import dataclasses
import tomllib

from tadp_cli.config.documentation import page, settings_of
from tadp_cli.config.recipe import Recipe, load_recipe


def test_every_setting_is_explained():
    assert [setting.name for setting in settings_of(Recipe) if not setting.meaning] == []


def test_the_page_is_the_one_that_the_code_gives(repository):
    """`python -m tadp_cli.config.documentation > docs/configuration.md` writes it."""
    assert (repository / "docs" / "configuration.md").read_text() == page(Recipe)


def test_the_page_lists_choices_and_defaults():
    rows = {line.split("`")[1]: line for line in page(Recipe).splitlines() if line.startswith("| `")}
    assert 'text, `"poly"` | One of constant, poly, cosine, poly-mmcv, rise-fall.' in rows["train.schedule"]
    assert "| text, empty | A source for" in rows["backbone.source"]
    assert rows["head"].split(" | ")[1] == "table"


def test_each_setting_of_a_written_recipe_stands_below_its_meaning(tmp_path):
    recipe = load_recipe("scenes-segmentation", ("data.folder=x", "loss.kind=focal", "train.betas=[0.8, 0.9]"))
    text = recipe.to_toml()
    lines = text.splitlines()
    explained = {lines[i + 1].partition(" = ")[0] for i, line in enumerate(lines[:-1]) if line.startswith("# ")}
    keys = {key for section in dataclasses.asdict(recipe).values() if isinstance(section, dict) for key in section}
    assert keys - explained == {"variant", "width", "kind"} - explained, "settings of heads and losses are theirs"
    assert tomllib.loads(text)["train"]["betas"] == [0.8, 0.9]
    (tmp_path / "config.toml").write_text(text)
    assert load_recipe(tmp_path / "config.toml") == recipe
    assert max(map(len, lines)) <= 120
