"""Strings of files and servers reach the terminal and pages as text: nothing in them is obeyed."""

import inspect
import io
import logging
import warnings

import numpy as np
import pytest
from invoking import tadp
from PIL import Image
from rich.table import Table
from rich.text import Text

import tadp_heads._markdown
import tadp_personalize._markdown
from tadp_cli.console.terminal import SafeConsole, printable
from tadp_cli.main import settle_environment
from tadp_cli.report.charts import curves_figure
from tadp_cli.report.page import write_report
from tadp_cli.report.rows import CaptionRow, PredictionRow
from tadp_heads._markdown import code
from tadp_heads.overlay import contact_sheet, draw_boxes, draw_legend

HOSTILE = "a\x1b[2Jb\x9bc\rd\x07\u202ee\ud800f [red]:dog: <script>alert(1)</script>"


def console(encoding="utf-8"):
    made = SafeConsole()
    made.file, made.width = io.TextIOWrapper(io.BytesIO(), encoding=encoding), 200
    return made


def written(made):
    made.file.flush()
    return made.file.buffer.getvalue().decode()


@pytest.mark.parametrize("wrap", [str, Text, lambda text: _table(text)], ids=["str", "Text", "Table"])
def test_a_terminal_gets_no_control_characters_and_no_markup(wrap):
    made = console()
    made.print(wrap(HOSTILE))
    said = written(made)
    assert printable(said) == said
    for shown in ("\\x1b[2J", "\\x9b", "\\u202e", "\\ud800", "[red]:dog:"):
        assert shown in said


def _table(text):
    table = Table("name")
    table.add_row(text)
    return table


def test_characters_that_the_terminal_lacks_are_escaped():
    made = console("ascii")
    made.print("café, two\nlines")
    assert written(made) == "caf\\xe9, two\nlines\n"


def test_text_of_any_language_stays():
    text = "naïve 猫 café \N{DOG FACE} ไทย"
    assert printable(text) == text


def test_strings_that_libraries_log_or_warn_of_are_escaped(monkeypatch, caplog):
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    settle_environment()
    logging.getLogger("a.library").warning("reason: %s", HOSTILE)
    for said in (caplog.text, warnings.formatwarning(UserWarning(HOSTILE), UserWarning, "x.py", 3)):
        assert "\\x1b[2J" in said
        assert printable(said) == said


def test_an_error_about_a_hostile_name_is_one_harmless_line(tmp_path):
    said = tadp("captions", "diff", tmp_path / "a\x1b[31m.jsonl", tmp_path / "b.jsonl", code=2)
    assert "\x1b" not in said
    assert "a\\x1b[31m.jsonl: no such caption file" in said


def test_a_page_has_no_script_of_a_caption_and_no_control_character(tmp_path):
    image = Image.new("RGB", (8, 8))
    row = CaptionRow(image=image, written=HOSTILE, cleaned="a", prompts={HOSTILE: HOSTILE})
    shown = PredictionRow(image=image, truth=image, title=HOSTILE, predictions={HOSTILE: image})
    results = {"rows": [], "classes": [HOSTILE], "palette": [[1, 2, 3]], "settings": {HOSTILE: HOSTILE}}
    write_report(tmp_path / "p.html", results, captions=[row], heat_maps=[], predictions=[shown])
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1, "the one that sorts tables"
    assert printable(page) == page


def test_a_colour_is_numbers(tmp_path):
    results = {"rows": [], "classes": ["a"], "palette": [['0);"><script>alert(1)</script>', 0, 0]]}
    image = Image.new("RGB", (8, 8))
    shown = PredictionRow(image=image, truth=image, title="a", predictions={})
    with pytest.raises(TypeError, match="%d format"):
        write_report(tmp_path / "p.html", results, captions=[], heat_maps=[], predictions=[shown])


def test_names_are_drawn_as_one_line_whatever_they_hold(tmp_path):
    """A line break in a file's or a class's name: PIL cannot measure it; a "$": matplotlib takes it for a formula."""
    name, image = "two\nlines \ud800$\\frac$", Image.new("RGB", (16, 16))
    contact_sheet([image], [name])
    draw_legend([name], [(1, 2, 3)])
    import torch

    draw_boxes(image, torch.tensor([[1.0, 1, 9, 9]]), torch.tensor([0]), [name], [(1, 2, 3)])
    curve = (np.arange(3), np.arange(3))
    curves_figure(tmp_path / "c.png", {"$\\frac$": curve, "b": curve}, x="x", y="y")


@pytest.mark.parametrize("text", [HOSTILE, "`a` ``b", "``", " ", "", "a\n\n# b", "<watercolor>"])
def test_a_model_card_shows_a_string_as_one_piece_of_code(text):
    span = code(text)
    assert printable(span) == span
    assert "\n" not in span
    fence = span[: len(span) - len(span.lstrip("`"))]
    assert text == "" or (fence and span.endswith(fence) and fence not in span[len(fence) : -len(fence)])


def test_packages_write_cards_by_the_same_module():
    assert inspect.getsource(tadp_heads._markdown) == inspect.getsource(tadp_personalize._markdown)
