"""The report's pages in a real browser: nothing on the console, nothing asked for outside, every image shown."""

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from PIL import Image

from tadp_cli.report.grouping import group_rows, task_tables
from tadp_cli.report.page import write_report
from tadp_cli.report.rows import CaptionRow, HeatRow, ImageRow, PredictionRow
from tadp_cli.report.runs_page import runs_html

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def picture(width=64, height=48, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def heat_row():
    return HeatRow(picture(), "a tree", [("tree", np.random.default_rng(1).random((48, 64)))])


def row(prompt, seed, value):
    metrics = {"mIoU": value}
    return {"task": "segmentation", "prompt": prompt, "modifier": None, "test": "photo/val", "seed": seed} | {
        "metrics": metrics
    }


def write_runs_page(path):
    image = ImageRow(
        image=picture(),
        truth=picture(seed=1),
        title="val_00001",
        predictions={"first-run": (picture(seed=2), "mIoU 40.0"), "second-run": (picture(seed=3), "mIoU 41.0")},
        heat=heat_row(),
        caption="a <tree>",
        written="a watercolor of a <tree>",
        prompt="a night photo of a <tree>",
    )
    classes = [f"class number {i}" for i in range(30)]
    matrix = np.eye(30).tolist()
    rows = [row("empty", 0, 0.2), row("empty", 1, 0.3), row("caption", 0, 0.4)]
    page = runs_html(
        "2 runs side by side",
        "Runs.",
        sentences=["Trained: first-run.", "Evaluated: first-run.", "Prompts: first-run."],
        lead=image,
        tables=task_tables(group_rows({"rows": rows})),
        losses={"first-run": ([1, 2, 3], [3.0, 2.0, 1.5]), "second-run": ([1, 2, 3], [3.0, 2.5, 1.0])},
        per_class={"first-run": {"tree": 0.5, "star": float("nan"), "apple": 0.25, "sea": 0.75}},
        confusions={"first-run": matrix, "second-run": matrix[::-1]},
        classes=classes,
        worst=[image],
        chosen="by the metric.",
        colours={"tree": (128, 0, 0)},
        samples={"<look>": picture(600, 300)},
        settings={"first-run": {"train.steps": 1, "seed": 0}, "second-run": {"train.steps": 2}},
        recipe=("scenes-segmentation", {"train.steps": 1, "seed": 0}),
        environment={"torch": "2"},
    )
    path.write_text(page)


def write_demo_page(path):
    results = {
        "rows": [row("empty", 0, 0.2), row("caption", 0, 0.4)],
        "classes": [],
        "palette": [],
        "settings": {"a": 1},
    }
    captions = [CaptionRow(picture(), "a painting of a tree", "a tree", {"simple": "a watercolor of a tree"})]
    predictions = [PredictionRow(picture(), picture(seed=1), "photo", {"empty": picture(seed=2)})]
    write_report(path, results, captions=captions, heat_maps=[heat_row()], predictions=predictions)


@pytest.mark.parametrize("write", [write_runs_page, write_demo_page])
def test_a_browser_shows_all_of_it_without_a_network(browser, tmp_path, write):
    path = tmp_path / "report.html"
    write(path)
    browser.open(path)
    assert browser.complaints() == []
    asked = browser.requests()
    assert {url.split(":")[0] for url in asked} == {"file", "data"}
    assert [url for url in asked if url.startswith("file:")] == [path.as_uri()]
    shown = browser.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)")
    assert len(shown) >= 4
    assert all(shown)


@pytest.mark.parametrize("write", [write_runs_page, write_demo_page])
def test_light_and_dark_wide_and_narrow(browser, tmp_path, write):
    path = tmp_path / "report.html"
    write(path)
    browser.open(path)
    brightness = {}
    for scheme in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        brightness[scheme] = np.median(browser.screenshot())
    assert brightness["light"] > 230
    assert brightness["dark"] < 60
    for width in (360, 1200):
        browser.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500
        )
        # Wide tables and charts scroll in their own boxes; the page itself does not.
        assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_a_click_or_the_space_key_shows_an_image_as_large_as_the_window(browser, tmp_path):
    path = tmp_path / "report.html"
    write_runs_page(path)
    browser.open(path)
    width = "Math.round(document.querySelector('article .zoom img').getBoundingClientRect().width)"
    assert browser.evaluate(width) == 140
    browser.click("article .zoom img")
    assert browser.evaluate(width) > 300
    browser.evaluate("document.querySelector('article .zoom input').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=" ", code="Space", windowsVirtualKeyCode=32, text=" ")
    assert browser.evaluate(width) == 140


def test_a_click_or_a_key_on_a_heading_sorts_its_table(browser, tmp_path):
    """The largest number first, then the smallest; what has none stays last; groups stay together."""
    path = tmp_path / "report.html"
    write_runs_page(path)
    browser.open(path)
    shown = "[...document.querySelectorAll('#classes tbody tr')].map(r => r.cells[0].textContent)"
    assert browser.evaluate(shown) == ["tree", "star", "apple", "sea"]
    browser.click("#classes th:nth-child(2) button")
    assert browser.evaluate(shown) == ["sea", "tree", "apple", "star"]
    browser.evaluate("document.querySelector('#classes th:nth-child(2) button').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    assert browser.evaluate(shown) == ["apple", "tree", "sea", "star"]
    assert browser.evaluate("document.querySelector('#classes [aria-sort]').getAttribute('aria-sort')") == "ascending"
    browser.click("#classes th:nth-child(1) button")
    assert browser.evaluate(shown) == ["apple", "sea", "star", "tree"]
    browser.click("#scores th:nth-child(3) button")
    first = browser.evaluate("document.querySelector('#scores tbody tr').firstChild.className")
    assert first == "group"
    assert browser.complaints() == []
