"""Small pieces of HTML. What they are given as text is escaped; names ending in `html` are taken as they are."""

from collections.abc import Iterable
from difflib import SequenceMatcher
from html import escape

from PIL import Image

from tadp_cli.report.heat_maps import data_uri

SHOWN_WIDTH = 160
"""CSS pixels; smaller images are enlarged with hard pixels."""


def picture(image: Image.Image, alt: str, label: str, note: str = "") -> str:
    """An image with a line or two below it."""
    kind = ' class="pixels"' if image.width < SHOWN_WIDTH else ""
    below = f"<b>{escape(label)}</b>" + (f"<small>{escape(note)}</small>" if note else "")
    return (
        f'<figure><img{kind} src="{data_uri(image)}" alt="{escape(alt)}" width="{image.width}" height="{image.height}">'
        f"<figcaption>{below}</figcaption></figure>"
    )


def strip(pictures: Iterable[str]) -> str:
    return f'<div class="strip">{"".join(pictures)}</div>'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """(term, HTML of what it is)."""
    return "<dl>" + "".join(f"<dt>{escape(term)}</dt><dd>{html}</dd>" for term, html in pairs) + "</dl>"


def table(head: Iterable[str], body_html: str) -> str:
    """On a narrow screen the table scrolls, the page does not."""
    cells = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
    return (
        f'<div class="wide" tabindex="0"><table><thead><tr>{cells}</tr></thead><tbody>{body_html}</tbody></table></div>'
    )


def table_row(name: str, cells_html: Iterable[str]) -> str:
    return f'<tr><th scope="row">{escape(name)}</th>' + "".join(f"<td>{html}</td>" for html in cells_html) + "</tr>"


def struck(before: str, after: str) -> str:
    """`before`, with the words struck out that `after` lacks."""
    return _marked(after.split(), before.split(), "del")


def highlighted(before: str, after: str) -> str:
    """`after`, with the words marked that `before` lacks."""
    return _marked(before.split(), after.split(), "mark")


def _marked(other: list[str], shown: list[str], tag: str) -> str:
    parts = []
    for kind, _, _, first, last in SequenceMatcher(None, other, shown, autojunk=False).get_opcodes():
        text = escape(" ".join(shown[first:last]))
        if text:
            parts.append(text if kind == "equal" else f"<{tag}>{text}</{tag}>")
    return " ".join(parts)
