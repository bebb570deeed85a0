"""The report: numbers of the tables, the page as a browser would read it, the overview figure."""

import base64
import io
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tadp_cli.console.metric_tables import show_evaluations, show_rows
from tadp_cli.report.figures import overview_figure
from tadp_cli.report.grouping import group_rows, task_tables
from tadp_cli.report.heat_maps import heat_overlay
from tadp_cli.report.page import highlighted, struck, write_report
from tadp_cli.report.rows import CaptionRow, HeatRow, PredictionRow


def row(prompt, modifier, test, seed, value, task="segmentation", metric="mIoU"):
    metrics = {metric: value, "other": 0.123}
    return {"task": task, "prompt": prompt, "modifier": modifier, "test": test, "seed": seed, "metrics": metrics}


RESULTS = {
    "rows": [
        row("empty", None, "photo", 0, 0.25),
        row("empty", None, "watercolor", 0, 0.20),
        row("caption", None, "photo", 0, 0.40),
        row("caption", "null", "watercolor", 0, 0.30),
        row("caption", "simple", "watercolor", 0, 0.28),
        row("empty", None, "photo", 1, 0.27),
        row("empty", None, "watercolor", 1, 0.20),
        row("caption", None, "photo", 1, 0.36),
        row("caption", "null", "watercolor", 1, 0.32),
        row("caption", "simple", "watercolor", 1, 0.29),
        row("empty", None, "photo", 0, 1.5, task="depth", metric="rmse"),
        row("caption", None, "photo", 0, 1.25, task="depth", metric="rmse"),
        row("caption", None, "photo", 0, math.nan, task="detection", metric="AP50"),
        row("oracle", None, "photo", 0, 0.5, task="detection", metric="AP50"),
    ],
    "pointing_game": {"own_word": 0.84, "other_word": 0.09, "chance": 0.07},
    "personalization": {
        "watercolor": {
            "token": "<look>",
            "before": {"learnt": 0.31, "initial_word": 0.31, "plain": 0.32, "empty": 0.33},
            "after": {"learnt": 0.2915, "initial_word": 0.31, "plain": 0.32, "empty": 0.33},
        }
    },
    "classes": ["background", "tree"],
    "palette": [[0, 0, 0], [128, 0, 0]],
    "settings": {"steps": 400, "targets": ["watercolor", "night"]},
}
EMPTY = {"rows": [], "classes": [], "palette": [], "settings": {}}


def picture(width=24, height=16, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def heat_row(words=("tree", "star"), prompt="tree star"):
    rng = np.random.default_rng(1)
    return HeatRow(picture(), prompt, [(word, 0.4 * rng.random((16, 24))) for word in words])


def prediction_row():
    return PredictionRow(
        picture(), picture(seed=1), "photo: a tree", {"empty": picture(seed=2), "caption": picture(seed=3)}
    )


def caption_row():
    return CaptionRow(
        picture(),
        "a painting of a <tree> & star",
        "a <tree> & star",
        {"simple": "a <look> painting of a <tree> & star"},
    )


class Reader(HTMLParser):
    """What a browser sees: the images, the ids, the text outside of style; complains of unbalanced elements."""

    VOID = ("meta", "link", "img", "input")

    def __init__(self, html):
        super().__init__()
        self.images, self.ids, self.texts, self.tags, self.open = [], [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        if tag == "img":
            self.images.append(values)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "new" / "report.html"
    write_report(
        path,
        RESULTS,
        captions=[caption_row()],
        heat_maps=[heat_row()],
        predictions=[prediction_row()],
        samples=[picture(seed=4)],
    )
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]  # no temporary file is left
    return path.read_text(encoding="utf-8")


def test_cells_are_mean_and_half_range_in_the_tasks_unit():
    rows = {(r.task, r.prompt, r.modifier): r.cells for r in group_rows(RESULTS)}
    assert list(rows)[:4] == [
        ("segmentation", "empty", None),
        ("segmentation", "caption", None),
        ("segmentation", "caption", "null"),
        ("segmentation", "caption", "simple"),
    ]
    empty = rows["segmentation", "empty", None]
    assert list(empty) == ["photo", "watercolor"]
    assert (empty["photo"].mean, empty["photo"].spread, empty["photo"].runs) == (
        pytest.approx(26),
        pytest.approx(1),
        2,
    )
    assert empty["watercolor"].spread == 0
    assert rows["segmentation", "caption", "null"]["watercolor"].mean == pytest.approx(31)
    assert rows["depth", "caption", None]["photo"].mean == 1.25  # metres stay metres
    assert rows["depth", "caption", None]["photo"].spread is None
    assert rows["detection", "oracle", None]["photo"].mean == 50


def bold(task):
    table = next(t for t in task_tables(group_rows(RESULTS)) if t.task == task)
    return [
        (r.prompt, r.modifier, test)
        for group in table.groups
        for r in group.rows
        for test in table.tests
        if group.is_best(r, test)
    ]


def test_best_is_bold_within_its_group_only():
    assert bold("segmentation") == [("caption", None, "photo"), ("caption", "null", "watercolor")]


def test_lower_is_better_for_depth():
    assert bold("depth") == [("caption", None, "photo")]


def test_undefined_metric_is_neither_best_nor_compared_with():
    assert bold("detection") == []


def test_metrics_that_print_alike_are_both_best():
    rows = [row("empty", None, "photo", 0, 0.40001), row("caption", None, "photo", 0, 0.40002)]
    (table,) = task_tables(group_rows({"rows": rows}))
    assert all(table.groups[0].is_best(r, "photo") for r in table.groups[0].rows)


def test_terminal_table():
    console = Console(width=100, record=True, file=io.StringIO())
    show_rows(console, RESULTS)
    text = console.export_text()
    assert "segmentation: mIoU in percent, higher is better" in text
    assert "depth: RMSE in metres, lower is better" in text
    assert text.count("Single-domain") == 3
    assert text.count("Cross-domain") == 1
    assert "26.0 ± 1.0" in text
    assert "not defined" in text


def test_page_asks_for_nothing_from_outside(page):
    without_images = re.sub(r'src="data:[^"]*"', "", page)
    assert not re.search(r"https?:|//|@import|url\(|src=|<script\s", without_images, re.IGNORECASE)
    assert "default-src 'none'" in page


def test_page_is_well_formed_and_its_links_lead_somewhere(page):
    reader = Reader(page)
    assert re.findall(r'<a href="#([^"]+)"', page) == reader.ids
    assert len(reader.ids) == len(set(reader.ids)) == 7


def test_all_images_decode_and_are_described(page):
    images = Reader(page).images
    assert len(images) == 1 + 3 + 1 + 4 + 1  # captions, image and two maps, colour bar, predictions, sample
    for image in images:
        kind, data = image["src"].split(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as decoded:
            decoded.load()
        assert image["alt"]


def test_inlined_image_is_the_image(page):
    shown = next(i for i in Reader(page).images if i["alt"].startswith("image: photo"))
    assert shown["class"] == "pixels"
    with Image.open(io.BytesIO(base64.b64decode(shown["src"].split(",")[1]))) as decoded:
        np.testing.assert_array_equal(np.asarray(decoded), np.asarray(picture()))


def test_text_is_escaped(page):
    reader = Reader(page)
    assert not {"look", "tree"} & set(reader.tags)
    assert "<look>" in reader.text
    assert re.sub("<del>.*?</del>", "", struck("in red ink a <tree>", "a <tree>")).split() == ["a", "&lt;tree&gt;"]
    assert highlighted("a & b", "a <new> & b") == "a <mark>&lt;new&gt;</mark> &amp; b"


def test_page_says_what_is_seen(page):
    text = Reader(page).text
    assert text.count("not Stable Diffusion") == 1 + 7  # on top and in each section
    assert "mean over heads, layers and strides" in text
    assert "84.0 %" in text
    assert "0.3100 0.2915" in text
    assert "26.0 ± 1.0" in text
    assert "watercolor, night" in text
    assert "background (not painted)" in text
    assert "maximum 0.4" in text
    assert re.findall(r"<strong>([^<]*)</strong>", page) == ["38.0 ± 2.0", "31.0 ± 1.0", "1.250"]


def test_sections_without_content_are_left_out(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, EMPTY, captions=[], heat_maps=[heat_row()], predictions=[])
    assert Reader(path.read_text()).ids == ["words"]


def test_large_images_are_not_enlarged_with_hard_pixels(tmp_path):
    path = tmp_path / "report.html"
    heat = HeatRow(picture(320, 240), "tree", [("tree", np.ones((240, 320)))])
    write_report(path, EMPTY, captions=[], heat_maps=[heat], predictions=[])
    assert 'class="pixels"' not in path.read_text()


def test_heat_is_scaled_to_its_own_maximum():
    grey = Image.new("RGB", (3, 2), (128, 128, 128))
    heat = np.array([[0.0, 0.1, 0.2], [0.2, 0.1, 0.0]])
    shown = np.asarray(heat_overlay(grey, heat)).astype(int).sum(-1)
    assert shown[0, 0] < shown[0, 1] < shown[0, 2] == shown[1, 0]
    np.testing.assert_array_equal(np.asarray(heat_overlay(grey, heat)), np.asarray(heat_overlay(grey, 3 * heat)))
    assert np.asarray(heat_overlay(grey, 0 * heat)).std(axis=(0, 1)).max() == 0


def test_map_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"map of 'tree' is \(24, 16\), the image is \(16, 24\)"):
        HeatRow(picture(), "tree", [("tree", np.zeros((24, 16)))])


def test_overview_figure(tmp_path):
    path = tmp_path / "pictures" / "overview.png"
    heats = [heat_row(), heat_row(words=("a", "b", "c", "d"), prompt="$a$ b c d")]
    predictions = [prediction_row(), PredictionRow(picture(), picture(), "costs $5 or $6", {})]
    overview_figure(path, heats, predictions, {"circle": (200, 0, 0)})
    assert [p.name for p in path.parent.iterdir()] == ["overview.png"]
    with Image.open(path) as drawn:
        assert drawn.width == 1400
        pixels = np.asarray(drawn.convert("RGB"))
    assert (pixels[:, :10] == 255).all()  # the margins are kept
    assert (pixels[:, -10:] == 255).all()
    assert pixels.std() > 10


def test_classes_of_several_domains_are_side_by_side_in_a_terminal():
    """A column per domain, as many as fit the width; one that is neither annotated nor predicted has no number."""
    entries = {
        f"data/domain number {i}": {"metrics": {"mIoU": 0.25 + i}, "per_class": {"tree": 0.5, "star": None}}
        for i in range(6)
    }
    console = Console(width=80, record=True, file=io.StringIO())
    show_evaluations(console, "segmentation", entries)
    output = console.export_text()
    assert max(map(len, output.splitlines())) <= 80
    assert output.count("IoU ") == 2 * 2, "heading and mIoU, in two tables"
    assert all(f"domain number {i}" in output and f"{0.25 + i:.4f}" in output for i in range(6))
    assert re.search(r"star[ │|]*\n", output)
    show_evaluations(console, "depth", {"data/val": {"metrics": {"rmse": 1.0}}})
    assert not console.export_text(clear=False).strip()


def test_overview_needs_pairs(tmp_path):
    with pytest.raises(ValueError, match="no images"):
        overview_figure(tmp_path / "overview.png", [], [], {})
    with pytest.raises(ValueError, match="shorter"):
        overview_figure(tmp_path / "overview.png", [heat_row()], [], {})
    assert not list(tmp_path.iterdir())
