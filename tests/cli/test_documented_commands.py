"""The lines for `tadp train` and `tadp eval` that the pages show are such that the commands take them."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from tadp_cli.config.recipe import load_recipe
from tadp_cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("packages/*/README.md"))]
ON_REAL_DATA = {"presence.md": {"caption", "presence"}, "unseen.md": {"caption"}}
"""Pages whose rows are of the miniature, and the prompts with which they ask the same of real data."""


def parsed(page, name):
    """What the command makes of each of its lines in the page's blocks of code."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    calls = [found.group(1) for line in lines if (found := re.search(rf"\btadp {name} (.*)", line))]
    command = get_command(app).commands[name]
    return [command.make_context(name, shlex.split(call, comments=True)).params for call in calls]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_of_the_pages_are_taken(page):
    for call in parsed(page, "train"):
        recipe = load_recipe(call["recipe"], tuple(call["settings"] or ()))
        assert call["data"] or recipe.data.folder
    parsed(page, "eval")


@pytest.mark.parametrize("name", ON_REAL_DATA)
def test_pages_of_the_miniature_say_how_real_data_is_asked(name):
    calls = [call for call in parsed(ROOT / "docs" / name, "train") if call["recipe"] == "voc2012"]
    recipes = [load_recipe(call["recipe"], tuple(call["settings"])) for call in calls]
    assert {recipe.prompt.kind for recipe in recipes} == ON_REAL_DATA[name]
    assert all(recipe.backbone.source == "sd15" and recipe.captioner == "blip2" for recipe in recipes)


def test_a_line_that_is_not_taken_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```\n.venv/bin/tadp train voc2012 \\\n    --out runs/a --sett train.steps=3  # short\n```\n")
    with pytest.raises(Exception, match="--sett"):
        parsed(page, "train")
