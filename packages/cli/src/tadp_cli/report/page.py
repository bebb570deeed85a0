"""Self-contained HTML pages: no network, opened by double click, light and dark, readable on a phone."""

from base64 import b64encode
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from tadp_cli.console.terminal import printable
from tadp_cli.report.grouping import group_rows, task_tables
from tadp_cli.report.heat_maps import POOLING, colour_bar, data_uri, heat_overlay
from tadp_cli.report.rows import CaptionRow, HeatRow, PredictionRow
from tadp_heads.atomic_files import write_text

_TITLE = "Text-aligned diffusion perception"
_INTRO = (
    "Does a model see better when it is prompted with what is in the image? Everything on this page was made at small "
    "scale: by a tiny latent diffusion model and a tiny captioner, on Scenes, images drawn by a program. It shows how "
    "the method's parts work together. It is not Stable Diffusion, and its numbers are not those of the paper or of "
    "real photographs."
)


def write_report(
    path: Path,
    results: dict[str, Any],
    *,
    captions: Sequence[CaptionRow],
    heat_maps: Sequence[HeatRow],
    predictions: Sequence[PredictionRow],
    overview: Image.Image | None = None,
    samples: Sequence[Image.Image] = (),
) -> None:
    """Write results.json's content and the images as a page; a section without content is left out."""
    modifiers = (f"modifier {row['modifier']}" for row in results["rows"] if row["modifier"])
    page = render(
        "demo.html",
        title=_TITLE,
        intro=_INTRO,
        tables=task_tables(group_rows(results)),
        shown=list(dict.fromkeys((*(row["prompt"] for row in results["rows"]), *modifiers))),
        overview=overview,
        predictions=predictions,
        colours=dict(zip(results["classes"], results["palette"], strict=True)),
        heat_maps=heat_maps,
        pointing_game=results.get("pointing_game"),
        captions=captions,
        personalization=results.get("personalization", {}),
        samples=samples,
        settings=results.get("settings", {}),
    )
    write_text(path, page)


def render(template: str, **values: Any) -> str:
    """The page of a template in the folder `templates`: text in `values` is escaped, control characters too."""
    return printable(_templates().get_template(template).render(links=[], **values))


def struck(before: str, after: str) -> Markup:
    """`before`, with the words struck out that `after` lacks."""
    return _marked(after.split(), before.split(), "del")


def highlighted(before: str, after: str) -> Markup:
    """`after`, with the words marked that `before` lacks."""
    return _marked(before.split(), after.split(), "mark")


@cache
def _templates() -> Environment:
    loader = PackageLoader("tadp_cli.report")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.globals |= {"heat_overlay": heat_overlay, "colour_bar": colour_bar, "pooling": POOLING}
    made.globals |= _sorting()
    made.globals |= {"struck": struck, "highlighted": highlighted}
    made.filters |= {"data_uri": data_uri, "plain": _plain, "percent": _percent}
    return made


def _sorting() -> dict[str, Any]:
    """The script that sorts tables, and what a page's content policy allows it by."""
    script = files("tadp_cli.report").joinpath("templates/sort.js").read_text(encoding="utf-8")
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return {"sort_script": Markup(script), "sort_hash": Markup(f"sha256-{digest}")}


def _marked(other: list[str], shown: list[str], tag: str) -> Markup:
    parts = []
    for kind, _, _, first, last in SequenceMatcher(None, other, shown, autojunk=False).get_opcodes():
        text = " ".join(shown[first:last])
        if text:
            parts.append(Markup("{}" if kind == "equal" else f"<{tag}>{{}}</{tag}>").format(text))
    return Markup(" ").join(parts)


def _percent(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.1f}"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
