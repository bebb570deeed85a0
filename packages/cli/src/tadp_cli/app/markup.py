"""Pieces of the page as HTML: every word from outside is escaped, every image is in the page itself."""

import html
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from tadp_cli.app.deletion import Effect
from tadp_cli.app.words import WordMaps
from tadp_cli.report.heat_maps import colour_bar, heat_overlay
from tadp_cli.report.heat_maps import quick_data_uri as data_uri
from tadp_heads.results import Result, SegmentationResult

STYLE = """
.tadp-words{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(140px,40%),1fr));gap:.75rem;margin:.5rem 0}
.tadp-words.tadp-few{grid-template-columns:repeat(auto-fill,minmax(min(220px,40%),1fr))}
.tadp-words figure{margin:0;cursor:zoom-in}
.tadp-words img{width:100%;image-rendering:pixelated;border-radius:4px;display:block}
.tadp-words figcaption{font-size:.9rem;line-height:1.3;overflow-wrap:anywhere;color:var(--body-text-color)}
.tadp-words small{opacity:.75}
.tadp-words input{position:absolute;opacity:0}
.tadp-words input:focus-visible+figure{outline:3px solid var(--color-accent)}
.tadp-words input:checked+figure{position:fixed;inset:4vh 4vw;z-index:1000;display:flex;flex-direction:column;
 align-items:center;justify-content:center;background:var(--body-background-fill);border-radius:8px;cursor:zoom-out;
 box-shadow:0 0 0 100vmax rgba(0,0,0,.6)}
.tadp-words input:checked+figure img{width:min(80vh,88vw)}
.tadp-legend{display:flex;flex-wrap:wrap;gap:.3rem 1rem;list-style:none;padding:0;margin:.5rem 0}
.tadp-legend span{display:inline-block;
 width:1em;height:1em;margin-right:.4em;border:1px solid #888;vertical-align:-.1em}
.tadp-bar{display:flex;flex-wrap:wrap;gap:.5rem;align-items:center;font-size:.85rem}
.tadp-bar img{height:12px;width:160px}
.tadp-table{overflow-x:auto}.tadp-table table{border-collapse:collapse;min-width:30rem}
.tadp-table td,.tadp-table th{padding:.3rem .6rem;border-top:1px solid var(--border-color-primary);text-align:left}
.tadp-table img{width:112px;max-width:none;image-rendering:pixelated}
"""
_FEW = 4
"""Up to so many images are shown larger."""
_EFFECT_COLUMNS = (
    *("word", "attends", "changes without it", "pixels", "classes, in % of the image", "correlation", "in top 20 %"),
)
HEAT_BAR = "0 to the largest maximum of the maps, which have one scale; content words first"


def figures(shown: Sequence[tuple[Image.Image, str, str]]) -> str:
    """(image, label, note) in a grid; a click, or the space key, shows one large and small again."""
    parts = []
    for image, label, note in shown:
        text = html.escape(label)
        parts.append(
            f'<label><input type="checkbox" aria-label="enlarge {text}"><figure><img src="{data_uri(image)}" '
            f'alt="{text}"><figcaption><b>{text}</b> <small>{html.escape(note)}</small></figcaption></figure></label>'
        )
    few = " tadp-few" if len(shown) <= _FEW else ""
    return f'<div class="tadp-words{few}">{"".join(parts)}</div>'


def words_html(image: Image.Image, found: WordMaps) -> str:
    """One map per word over the image, all on one scale, content words first."""
    if not found.words:
        return "<p>Type some words.</p>"
    peak = float(found.maps.max())
    order = sorted(range(len(found.words)), key=lambda index: not found.words[index].has_content)
    shown = [
        (heat_overlay(image, found.maps[i], peak), found.words[i].text, f"max {found.maps[i].max():.2f}") for i in order
    ]
    return figures(shown) + heat_bar(HEAT_BAR)


def heat_bar(about: str) -> str:
    """The colours of heat maps, and what they are from left to right."""
    return f'<p class="tadp-bar"><img src="{data_uri(colour_bar())}" alt="colour bar"> {html.escape(about)}</p>'


def legend(areas: Mapping[str, float], colours: Mapping[str, Sequence[int]], of: str = "") -> str:
    """Classes that were found, the largest first, with their colour and share of the image; `of`: which image."""
    before = f"<li><b>{html.escape(of)}</b></li>" if of else ""
    rows = sorted(areas.items(), key=lambda row: -row[1])
    items = "".join(
        f'<li><span style="background:rgb({",".join(str(int(c)) for c in colours[name])})"></span>{html.escape(name)} '
        f"{_percent(share)}</li>"
        for name, share in rows
    )
    return f'<ul class="tadp-legend" aria-label="classes found">{before}{items}</ul>'


def classes_found(result: Result, of: str = "") -> str:
    """The legend of a mask, `of`: which one; "" for depth and boxes."""
    if not isinstance(result, SegmentationResult):
        return ""
    return legend(result.areas, dict(zip(result.names, result.palette, strict=True)), of)


def effects_html(image: Image.Image, found: Sequence[Effect]) -> str:
    """A row per word: where it attends, what changes without it, in pixels and classes."""
    attention = max((float(one.attention.max()) for one in found), default=0.0)
    change = max((float(one.change.max()) for one in found), default=0.0)
    head = "".join(f"<th>{text}</th>" for text in _EFFECT_COLUMNS)
    rows = "".join(_effect_row(image, one, attention, change) for one in found)
    return (
        f'<div class="tadp-table" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        + heat_bar("0 to the largest maximum of the column")
    )


def _effect_row(image: Image.Image, one: Effect, attention: float, change: float) -> str:
    word = html.escape(one.word)
    areas = ", ".join(f"{html.escape(name)} {100 * value:+.1f}" for name, value in _largest(one.areas))
    maps = "".join(
        f'<td><img src="{data_uri(heat_overlay(image, values, peak))}" alt="{alt} {word}"></td>'
        for values, peak, alt in ((one.attention, attention, "attention of"), (one.change, change, "change without"))
    )
    numbers = "".join(f"<td>{_number(value)}</td>" for value in (one.correlation, one.top_share))
    return f"<tr><th>{word}</th>{maps}<td>{100 * one.changed:.1f} %</td><td>{areas}</td>{numbers}</tr>"


def _largest(areas: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(areas.items(), key=lambda row: -abs(row[1]))[:3]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.0005 else "&lt; 0.1 %"


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"
