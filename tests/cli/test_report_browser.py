"""The report's pages in a real browser: nothing on the console, nothing asked for outside, every image shown."""

import base64
import io
import json
import os
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from tadp_cli.report.grouping import group_rows, task_tables
from tadp_cli.report.page import write_report
from tadp_cli.report.rows import CaptionRow, HeatRow, ImageRow, PredictionRow
from tadp_cli.report.runs_page import runs_html

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")


class Browser:
    """Headless Chromium, spoken to in its debugging protocol through a pipe: JSON messages ended by a zero byte."""

    def __init__(self, profile):
        command_read, self.write_end = os.pipe()
        self.read_end, answer_write = os.pipe()

        def pipes():  # the protocol's are 3 and 4 in the child
            high = [os.dup(command_read), os.dup(answer_write)]
            high = [fd if fd > 4 else os.dup(fd) for fd in high]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(
            [CHROMIUM, *flags, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=pipes,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_read)
        os.close(answer_write)
        self.rest, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """The command's result; what happens meanwhile is kept in `events`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        while (answer := self.next()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def next(self):
        while b"\0" not in self.rest:
            chunk = os.read(self.read_end, 1 << 20)
            assert chunk, "the browser has gone"
            self.rest += chunk
        text, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, path):
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.next()

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def screenshot(self):
        shot = self.call("Page.captureScreenshot", format="png")["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")).astype(int)

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=20)
        os.close(self.read_end)
        os.close(self.write_end)


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
        tables=task_tables(group_rows({"rows": rows})),
        losses={"first-run": ([1, 2, 3], [3.0, 2.0, 1.5]), "second-run": ([1, 2, 3], [3.0, 2.5, 1.0])},
        per_class={"first-run": {"tree": 0.5, "star": float("nan")}},
        confusions={"first-run": matrix},
        classes=classes,
        worst=[image],
        chosen="by the score.",
        colours={"tree": (128, 0, 0)},
        samples={"<look>": picture(600, 300)},
        settings={"first-run": {"train.steps": 1, "seed": 0}, "second-run": {"train.steps": 2}},
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
    said = [event for event in browser.events if event["method"] in ("Log.entryAdded", "Runtime.consoleAPICalled")]
    assert said == []
    assert not [event for event in browser.events if event["method"] == "Runtime.exceptionThrown"]
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
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
