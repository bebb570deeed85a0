"""What users type stays: every command with its options, every setting and recipe; tests/contract/surface has them."""

from typing import Annotated

import pytest
import typer
from surface import assert_frozen, command_lines, setting_lines

from tadp_cli.config.inheritance import shipped_recipes
from tadp_cli.config.paper_tables import row_names
from tadp_cli.config.recipe import Recipe
from tadp_cli.config.removed import REMOVED
from tadp_cli.main import app
from tadp_personalize import DreamBoothConfig, TextualInversionConfig


def test_commands_and_their_options_are_the_frozen_ones():
    assert_frozen("commands", command_lines(app))


def test_settings_of_recipes_are_the_frozen_ones():
    removed = {name: f"removed, was {default!r}" for name, default in REMOVED.items()}
    assert_frozen("settings", setting_lines(Recipe) | removed)


def test_settings_of_personalizations_are_the_frozen_ones():
    methods = {"textual-inversion": TextualInversionConfig, "dreambooth": DreamBoothConfig}
    assert_frozen(
        "personalize_settings", {k: v for name, c in methods.items() for k, v in setting_lines(c, f"{name} ").items()}
    )


def test_recipes_are_the_frozen_ones():
    assert_frozen("recipes", dict.fromkeys((*shipped_recipes(), *row_names()), "recipe"))


def _options(*names: str, **settings) -> dict[str, str]:
    small = typer.Typer(add_completion=False)

    @small.command()
    def only(steps: Annotated[int, typer.Option(*names, **settings)] = 3) -> None: ...

    return command_lines(small)


def test_an_option_is_described_by_each_of_its_names():
    assert _options("--steps", "-n") == {
        "tadp": "command",
        "tadp --steps": "int, default 3",
        "tadp -n": "int, default 3",
    }
    assert _options("--steps", hidden=True)["tadp --steps"] == "int, default 3, hidden"


def test_an_option_that_disappears_is_reported_even_where_the_file_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("surface.FOLDER", tmp_path / "tests" / "contract" / "surface")
    monkeypatch.setenv("TADP_UPDATE_SURFACE", "1")
    assert_frozen("one", {"tadp --old": "int", "tadp --other": "str"})
    with pytest.raises(AssertionError, match=r"hidden alias.*: tadp --old"):
        assert_frozen("one", {"tadp --new": "int", "tadp --other": "str"})
    monkeypatch.delenv("TADP_UPDATE_SURFACE")
    with pytest.raises(AssertionError, match=r"tadp --new: was 'not there', is 'int'\n.*TADP_UPDATE_SURFACE=1"):
        assert_frozen("one", {"tadp --old": "int, hidden", "tadp --new": "int", "tadp --other": "str"})
