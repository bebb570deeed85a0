"""The lines of the command line that the pages show are such that the commands take them."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from typer.main import get_command

from tadp_cli.config.default_models import default_recipe
from tadp_cli.config.recipe import load_recipe
from tadp_cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("packages/*/README.md"))]
ON_REAL_DATA = {"presence.md": {"caption", "presence"}, "unseen.md": {"caption"}}
"""Pages of small-scale results, and the prompts in their commands for real data."""


def calls(page):
    """Each line of the page's blocks of code that calls tadp: its words without the name, comments left out."""
    text = page.read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    indented = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    lines = "\n".join((*fenced, *indented)).replace("\\\n", " ").splitlines()
    found = (re.search(r"(?:^|[\s/])tadp ([a-z].*)", line) for line in lines)
    return [shlex.split(call.group(1), comments=True) for call in found if call is not None]


def parsed(page, name=""):
    """What the command `name` makes of each of its lines, what any command makes of its own where none is named."""
    found = []
    for words in calls(page):
        command, called = get_command(app), []
        while hasattr(command, "commands"):
            called.append(words.pop(0))
            command = command.commands[called[-1]]
        if name in ("", " ".join(called)):
            found.append(command.make_context(" ".join(called), words).params)
    return found


@pytest.fixture(autouse=True)
def named_files(tmp_path, monkeypatch):
    """The Python files of the pages' authors, which have nothing in them."""
    monkeypatch.chdir(tmp_path)
    for page in PAGES:
        for words in calls(page):
            for option, file in pairwise(words):
                if option == "--plugin":
                    Path(file).write_text("")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_of_the_pages_are_taken(page):
    parsed(page)
    for call in (call for call in parsed(page, "train") if not call["plugin"]):  # a plugin may add to the settings
        named = (f"prompt.{key}={call[key]}" for key in ("domain", "domain_phrase") if call[key])
        recipe = load_recipe(call["recipe"] or default_recipe(call["data"]), (*(call["settings"] or ()), *named))
        assert call["data"] or recipe.data.folder or recipe.backbone.source == "tiny", "which trains on Scenes"


@pytest.mark.parametrize("name", ["export", "serve", "benchmark"])
def test_lines_about_deployment_are_taken(name):
    assert parsed(ROOT / "docs" / "deployment.md", name)


@pytest.mark.parametrize("name", ON_REAL_DATA)
def test_pages_of_small_scale_results_have_the_commands_for_real_data(name):
    asked = [call for call in parsed(ROOT / "docs" / name, "train") if call["recipe"] == "voc2012"]
    recipes = [load_recipe(call["recipe"], tuple(call["settings"])) for call in asked]
    assert {recipe.prompt.kind for recipe in recipes} == ON_REAL_DATA[name]
    assert all(recipe.backbone.source == "sd15" and recipe.captioner == "blip2" for recipe in recipes)


def test_a_line_that_is_not_taken_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```\n.venv/bin/tadp train voc2012 \\\n    --out runs/a --sett train.steps=3  # short\n```\n")
    with pytest.raises(Exception, match="--sett"):
        parsed(page, "train")
