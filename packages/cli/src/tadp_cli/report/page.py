"""One self-contained HTML page: no network, opens by double click, light and dark, readable on a phone."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from PIL import Image

from tadp_cli._io import write_text
from tadp_cli.console.terminal import printable
from tadp_cli.report import sections
from tadp_cli.report.rows import CaptionRow, HeatRow, PredictionRow

__all__ = ["CaptionRow", "HeatRow", "PredictionRow", "write_report"]

_TITLE = "Text-aligned diffusion perception"
_INTRO = (
    "Does a model see better when it is told in words what is in the picture? Everything on this page was made by a "
    "working miniature: a tiny latent diffusion model and a tiny captioner, on Scenes, images drawn by a program. It "
    "shows how the method's parts work together. It is not Stable Diffusion, and its numbers are not those of the "
    "paper or of real photographs."
)
# The policy lets a browser load nothing but what is in the page.
_HEAD = """<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">"""


def write_report(
    path: Path,
    results: dict[str, Any],
    *,
    captions: Sequence[CaptionRow],
    heat_maps: Sequence[HeatRow],
    predictions: Sequence[PredictionRow],
    samples: Sequence[Image.Image] = (),
) -> None:
    """Write results.json's content and the pictures as a page; a section without content is left out."""
    found = (
        sections.scores(results),
        sections.predictions(predictions, results),
        sections.heat(heat_maps),
        sections.pointing(results),
        sections.captions(captions),
        sections.personalization(results, samples),
        sections.settings(results.get("settings", {})),
    )
    write_text(path, page_html(_TITLE, _INTRO, [section for section in found if section]))


def page_html(title: str, intro: str, shown: Sequence[sections.Section]) -> str:
    """The whole page: title, what it is, links to the sections, the sections; without a control character."""
    style = files("tadp_cli.report").joinpath("page.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#{section.anchor}">{escape(section.title)}</a>' for section in shown)
    main = "\n".join(section.html for section in shown)
    page = f"""<!doctype html>
<html lang="en">
<head>
{_HEAD}
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p>{escape(intro)}</p><nav>{links}</nav></header>
<main>
{main}
</main>
</body>
</html>
"""
    return printable(page)
