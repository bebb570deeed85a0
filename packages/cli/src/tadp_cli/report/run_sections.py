"""The sections of a page about finished runs; one with nothing to show is None."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from tadp_cli.report.charts import Matrix, curves_figure, matrices_figure
from tadp_cli.report.grouping import TaskTable
from tadp_cli.report.heat_maps import POOLING, colour_bar, data_uri, heat_overlay
from tadp_cli.report.markup import definitions, highlighted, picture, strip, struck, table, table_row
from tadp_cli.report.rows import HeatRow
from tadp_cli.report.sections import Section, legend_html, section, task_table_html


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageRow:
    """An image with what runs make of it."""

    image: Image.Image
    truth: Image.Image
    title: str
    predictions: Mapping[str, tuple[Image.Image, str]]
    """{run: (prediction over the image, its score as text)}."""
    heat: HeatRow | None
    """Where the first run's words attend."""
    caption: str | None
    """As it is stored; None where the run is not prompted with captions."""
    written: str | None
    """As the captioner wrote it, where that was changed since."""
    prompt: str | None
    """What the first run is given."""


def scores(tables: Sequence[TaskTable]) -> Section | None:
    if not tables:
        return None
    intro = (
        "A row a prompt and modifier, a column a data set; runs that differ in nothing but the seed share a row. Bold "
        "is the best of a column, as printed. Differences are to the first row of their table."
    )
    return section("scores", "Scores", intro, *(task_table_html(t) + _differences(t) for t in tables), badge="")


def configuration(settings: Mapping[str, Mapping[str, Any]]) -> Section:
    """{run: {dotted name: value}}; what differs comes first."""
    runs = list(settings)
    names = dict.fromkeys(name for values in settings.values() for name in values)
    missing = object()
    differing = [n for n in names if len({repr(settings[run].get(n, missing)) for run in runs}) > 1]
    body = ""
    for name in (*differing, *(name for name in names if name not in differing)):
        cells = [escape(_plain(settings[run].get(name, ""))) for run in runs]
        body += table_row(name, [f"<mark>{cell}</mark>" if name in differing else cell for cell in cells])
    intro = "Everything that was chosen." + (" What differs between the runs is marked." if len(runs) > 1 else "")
    return section("settings", "Configuration", intro, table(("setting", *runs), body), badge="")


def environment(values: Mapping[str, str]) -> Section:
    body = "".join(table_row(name, [escape(value)]) for name, value in values.items())
    intro = "Where this page was made and its images were predicted."
    return section("environment", "Environment", intro, table(("what", "found"), body), badge="")


def curves(losses: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Section | None:
    shown = {run: points for run, points in losses.items() if points[0]}
    if not shown:
        return None
    intro = "The training loss, each point a mean over a fiftieth of the training."
    chart = _drawn(lambda path: curves_figure(path, shown, x="step", y="training loss"))
    return section("curves", "Training", intro, _chart(chart, "training loss over steps, a line a run"), badge="")


def per_class(found: Mapping[str, Mapping[str, float]], name: str) -> Section | None:
    """{run: {class: score in [0, 1]}}."""
    shown = {run: values for run, values in found.items() if values}
    if not shown:
        return None
    classes = dict.fromkeys(c for values in shown.values() for c in values)
    body = "".join(table_row(c, [_percent(values.get(c)) for values in shown.values()]) for c in classes)
    intro = f"{name} of each class in percent, on the images looked at for this page. Empty: not there, not predicted."
    return section("classes", "Classes", intro, table(("class", *shown), body), badge="")


def confusion(matrices: Mapping[str, Sequence[Sequence[float]]], classes: Sequence[str]) -> Section | None:
    shown = {run: matrix for run, matrix in matrices.items() if matrix}
    if not shown:
        return None
    note = "Share of a class's pixels in percent: rows are the truth, columns what is predicted."
    charts = ""
    for run, matrix in shown.items():
        chart = _drawn(lambda path, run=run, m=matrix: matrices_figure(path, [Matrix(run, m)], classes, note=note))
        charts += _chart(chart, f"confusion matrix of {run}")
    intro = "Which class is taken for which, on the images that were looked at for this page."
    return section("confusion", "Confusion", intro, charts, badge="")


def images(
    rows: Sequence[ImageRow], anchor: str, title: str, intro: str, colours: Mapping[str, Sequence[int]]
) -> Section | None:
    """`colours`: {class: its colour in the overlays}."""
    if not rows:
        return None
    legend = legend_html(list(colours), list(colours.values()))
    bar = (
        f'<p class="scale"><span>0</span><img src="{data_uri(colour_bar())}" alt="colour bar of the heat maps">'
        f'<span>maximum of the map</span></p><p class="fine">Heat maps of words: {escape(POOLING)}.</p>'
    )
    return section(anchor, title, intro, legend, bar, *map(_image_article, rows), badge="")


def captions(rows: Sequence[ImageRow]) -> Section | None:
    shown = [row for row in rows if row.caption is not None and row.prompt is not None]
    if not shown:
        return None
    intro = (
        "What the captioner wrote, what cleaning left of it (what it took out is struck through), and the prompt that "
        "the first run is given (what a modifier put in is marked)."
    )
    articles = []
    for row in shown:
        pairs = [("caption", escape(row.caption))]
        if row.written is not None:
            pairs = [("written", struck(row.written, row.caption)), ("cleaned", highlighted(row.written, row.caption))]
        pairs.append(("prompt", highlighted(row.caption, row.prompt)))
        shown_image = picture(row.image, f"image captioned: {row.caption}", row.title)
        articles.append(f'<article class="beside">{shown_image}{definitions(pairs)}</article>')
    return section("captions", "Captions", intro, *articles, badge="")


def samples(sheets: Mapping[str, Image.Image]) -> Section | None:
    """{token: sheet of pictures drawn with it}."""
    if not sheets:
        return None
    intro = "Pictures drawn with the words that runs were personalized with."
    shown = "".join(_chart(sheet, f"pictures drawn with {token}", token) for token, sheet in sheets.items())
    return section("personalization", "Personalization", intro, shown, badge="")


def _differences(tabled: TaskTable) -> str:
    """Means less the first row's, of each group; "" where a group has one row."""
    html = ""
    for group in tabled.groups:
        first, *others = group.rows
        if not others:
            continue
        body = ""
        for row in others:
            cells = [escape(row.modifier or "")]
            for test in tabled.tests:
                both = test in row.cells and test in first.cells
                cells.append(
                    f"{row.cells[test].mean - first.cells[test].mean:+.{tabled.metric.decimals}f}" if both else ""
                )
            body += table_row(row.prompt, cells)
        base = f"{first.prompt}{f', {first.modifier}' if first.modifier else ''}"
        html += f"<h3>Difference to {escape(base)}</h3>" + table(("prompt", "modifier", *tabled.tests), body)
    return html


def _image_article(row: ImageRow) -> str:
    pictures = [picture(row.image, f"image {row.title}", "image"), picture(row.truth, "annotation", "truth")]
    pictures += [picture(shown, f"prediction of {run}", run, score) for run, (shown, score) in row.predictions.items()]
    if row.heat is not None:
        for word, values in row.heat.maps:
            overlay = heat_overlay(row.heat.image, values)
            pictures.append(picture(overlay, f"where the word {word} attends", f"“{word}”", f"max {values.max():.2f}"))
    return f"<article><h3>{escape(row.title)}</h3>{strip(pictures)}</article>"


def _chart(image: Image.Image, alt: str, label: str = "") -> str:
    below = f"<figcaption>{escape(label)}</figcaption>" if label else ""
    size = f'width="{image.width}" height="{image.height}"'
    return f'<figure class="chart"><img src="{data_uri(image)}" alt="{escape(alt)}" {size}>{below}</figure>'


def _drawn(draw) -> Image.Image:
    """What a figure's function writes, as an image."""
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "chart.png"
        draw(path)
        with Image.open(BytesIO(path.read_bytes())) as image:
            image.load()
            return image


def _percent(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.1f}"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
