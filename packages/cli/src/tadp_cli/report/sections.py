"""The sections of a report: each says in plain words what is seen; one with nothing to show is None."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from PIL import Image

from tadp_cli.report.grouping import Group, TaskTable, group_rows, task_tables
from tadp_cli.report.heat_maps import POOLING, colour_bar, data_uri, heat_overlay
from tadp_cli.report.markup import definitions, highlighted, picture, strip, struck, table, table_row
from tadp_cli.report.rows import CaptionRow, HeatRow, PredictionRow

MINIATURE = "Working miniature: tiny models on procedural Scenes, not Stable Diffusion."
_PROMPTS = {
    "empty": "no words at all",
    "class-names": "the names of all classes, the same text for every image",
    "class-embs": "the embeddings of all classes' names, each encoded alone",
    "averaged-eos": "all classes' names, each put into many sentences and averaged to one embedding",
    "caption": "what the captioner wrote about the image",
    "oracle": "the names of the classes that are annotated in the image: knowledge that no user has",
}
_MODIFIERS = {
    "null": "the caption as it is",
    "simple": "words that name the target's look are added to the caption",
    "textual-inversion": "a word learnt from a few unlabelled images of the target is added to the caption",
}
_KINDS = {
    "learnt": "sentence with the learnt token",
    "initial_word": "sentence with the word it began as",
    "plain": "sentence with neither",
    "empty": "no words",
}


class Section(NamedTuple):
    anchor: str
    title: str
    html: str


def scores(results: dict[str, Any]) -> Section | None:
    tables = task_tables(group_rows(results))
    if not tables:
        return None
    intro = (
        "Each row is a way of writing the prompt, each column a set of test images the model was not trained on. A "
        "model is trained for each row, on labelled images of one look only; a column of another look shows how well "
        "that carries over. Captions without a modifier are in both groups: on the look trained on in the first, as "
        "null on the others in the second. Bold is the best number of a column within its group, as printed."
    )
    prompts = dict.fromkeys(row["prompt"] for row in results["rows"])
    modifiers = dict.fromkeys(row["modifier"] for row in results["rows"] if row["modifier"])
    words = [(name, escape(_PROMPTS[name])) for name in prompts if name in _PROMPTS]
    words += [(f"modifier {name}", escape(_MODIFIERS[name])) for name in modifiers if name in _MODIFIERS]
    return section("scores", "Scores", intro, "".join(map(task_table_html, tables)), definitions(words))


def pointing(results: dict[str, Any]) -> Section | None:
    game = results.get("pointing_game")
    if not game:
        return None
    intro = (
        "Before any head is trained: is the brightest point of a word's attention map on an object of that name? "
        "Compared with the maps of the other words in the same prompt, and with a point chosen blindly, which hits an "
        "object as often as its share of the image. The tiny model was taught to ground words with masks; real "
        "Stable Diffusion has this from its training on captions alone."
    )
    labels = {"own_word": "the object's own word", "other_word": "another object's word", "chance": "chance"}
    bars = "".join(
        f'<div class="bar"><span>{label}</span><span class="track"><span style="width:{100 * game[key]:.1f}%"></span>'
        f"</span><b>{100 * game[key]:.1f} %</b></div>"
        for key, label in labels.items()
    )
    return section("pointing", "Pointing game", intro, f'<div class="bars">{bars}</div>')


def heat(rows: Sequence[HeatRow]) -> Section | None:
    if not rows:
        return None
    intro = (
        "Where each word of a prompt attends in the image: bright is much, dark is little. Read each map for its "
        "place, not its brightness: every map reaches the brightest colour somewhere."
    )
    alt = "colour bar from 0, dark, to the map's maximum, bright"
    bar = (
        f'<p class="scale"><span>0</span><img src="{data_uri(colour_bar())}" alt="{alt}">'
        f'<span>maximum of the map</span></p><p class="fine">Pooling: {POOLING}, which is printed.</p>'
    )
    return section("words", "What each word looks at", intro, bar, "".join(map(_heat_article, rows)))


def predictions(rows: Sequence[PredictionRow], results: dict[str, Any]) -> Section | None:
    if not rows:
        return None
    intro = (
        "The same images, first as annotated, then as models see them that were each trained and tested with "
        "one kind of prompt. Differences between neighbours are what the prompt changed, and what chance changed. What "
        "is found is tinted, so its colour is a mixture of the legend's and the image's."
    )
    legend = legend_html(results.get("classes", ()), results.get("palette", ()))
    return section("predictions", "Predictions", intro, legend, "".join(map(_prediction_article, rows)))


def captions(rows: Sequence[CaptionRow]) -> Section | None:
    if not rows:
        return None
    intro = (
        "What the captioner wrote, what is left when the words that name the look are taken out (struck through), and "
        "the prompts made of it (the modifier's words are marked). The captioner makes mistakes; they are kept."
    )
    articles = []
    for number, row in enumerate(rows, start=1):
        pairs = [("written", struck(row.written, row.cleaned)), ("cleaned", highlighted(row.written, row.cleaned))]
        pairs += [(name, highlighted(row.cleaned, text)) for name, text in row.prompts.items()]
        shown = picture(row.image, f"image {number}, captioned: {row.written}", f"image {number}")
        articles.append(f'<article class="beside">{shown}{definitions(pairs)}</article>')
    return section("captions", "Captions", intro, *articles)


def personalization(results: dict[str, Any], samples: Sequence[Image.Image]) -> Section | None:
    learnt = results.get("personalization", {})
    if not learnt and not samples:
        return None
    intro = (
        "A new word is learnt from a few unlabelled images of the target, so that a prompt can name its look. Whether "
        "that worked is measured on images it was not learnt from: how well the model removes noise from them when "
        "told this word (denoising loss, a mean squared error; lower is better), before and after, with the same noise."
    )
    parts = [_learnt_table(domain, entry) for domain, entry in learnt.items()]
    if samples:
        number = enumerate(samples, start=1)
        drawn = [picture(s, f"sample {i} drawn with the learnt word", f"sample {i}") for i, s in number]
        parts += ["<h3>Drawn with the learnt word</h3>", strip(drawn)]
    return section("personalization", "Personalization", intro, *parts)


def settings(values: Mapping[str, Any]) -> Section | None:
    if not values:
        return None
    intro = (
        "Everything that was chosen for this run; the same settings and seed give the same numbers on the same machine "
        "with the same number of threads."
    )
    body = "".join(table_row(name, [escape(_plain(value))]) for name, value in values.items())
    return section("settings", "Settings", intro, table(("setting", "value"), body))


def section(anchor: str, title: str, intro: str, *parts_html: str, badge: str = MINIATURE) -> Section:
    """A heading, a line in small print where there is one, what is seen here, and the parts."""
    small = f'<p class="badge">{escape(badge)}</p>' if badge else ""
    head = f"<h2>{escape(title)}</h2>{small}<p>{escape(intro)}</p>"
    return Section(anchor, title, f'<section id="{anchor}">{head}{"".join(parts_html)}</section>')


def task_table_html(tabled: TaskTable) -> str:
    body = "".join(_group(tabled, group) for group in tabled.groups)
    title = f"<h3>{escape(tabled.task.capitalize())}: {escape(tabled.metric.heading)}</h3>"
    return (
        f'{title}{table(("prompt", "modifier", *tabled.tests), body)}<p class="fine">{escape(tabled.spread_note)}</p>'
    )


def _group(tabled: TaskTable, group: Group) -> str:
    span = 2 + len(tabled.tests)
    html = f'<tr><th class="group" scope="rowgroup" colspan="{span}"><span>{escape(group.title)}</span></th></tr>'
    for row in group.rows:
        cells = [escape(row.modifier or "")]
        for test in tabled.tests:
            text = escape(row.cells[test].show(tabled.metric)) if test in row.cells else ""
            cells.append(f"<strong>{text}</strong>" if group.is_best(row, test) else text)
        html += table_row(row.prompt, cells)
    return html


def _heat_article(row: HeatRow) -> str:
    pictures = [picture(row.image, f"image prompted with: {row.prompt}", "image")]
    for word, values in row.maps:
        alt = f"where the word {word} attends"
        pictures.append(picture(heat_overlay(row.image, values), alt, word, f"maximum {values.max():.2f}"))
    return f"<article><h3>“{escape(row.prompt)}”</h3>{strip(pictures)}</article>"


def _prediction_article(row: PredictionRow) -> str:
    pictures = [picture(row.image, f"image: {row.title}", "image"), picture(row.truth, "annotation", "truth")]
    pictures += [picture(shown, f"prediction, prompt {name}", name) for name, shown in row.predictions.items()]
    return f"<article><h3>{escape(row.title)}</h3>{strip(pictures)}</article>"


def legend_html(classes: Sequence[str], palette: Sequence[Sequence[int]]) -> str:
    """A black class is not painted: there the image shows."""
    items = ""
    for name, (r, g, b) in zip(classes, palette, strict=True):
        note = "" if r or g or b else " (not painted)"
        items += f'<li><span style="background:rgb({r:d},{g:d},{b:d})"></span>{escape(name)}{note}</li>'
    return f'<ul class="legend" aria-label="class colours">{items}</ul>' if items else ""


def _learnt_table(domain: str, entry: Mapping[str, Any]) -> str:
    body = "".join(
        table_row(_KINDS.get(kind, kind), [f"{entry['before'][kind]:.4f}", f"{entry['after'][kind]:.4f}"])
        for kind in entry["before"]
    )
    title = f"<h3>{escape(domain)}: <code>{escape(entry['token'])}</code></h3>"
    return title + table(("prompt", "loss before", "loss after"), body)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
