"""The page of a running training, and the line about it."""

import json
import re
import xml.etree.ElementTree as ET

import pytest
from browser import CHROMIUM, Browser

from tadp_heads.training.tracking import page as pages
from tadp_heads.training.tracking import step_text
from tadp_heads.training.tracking.curve import curve
from tadp_heads.training.tracking.page import TrainingPage


def logged(run, *rows):
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_the_page_reloads_itself_until_the_training_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(pages.time, "monotonic", iter((0, 3, 30)).__next__)
    with TrainingPage(tmp_path, "<b>run", 4) as page:
        logged(tmp_path, {"step": 1, "loss": 2.0, "lr": 0.1, "grad_norm": None})
        page.step()
        first = page.path.read_text()
        logged(tmp_path, {"step": 2, "loss": 1.0, "lr": 0.1}, {"step": 2, "val": {"mIoU": 0.25}})
        page.step()  # too soon
        assert page.path.read_text() == first
        page.step()
        second = page.path.read_text()
    for shown in (first, second):
        assert 'http-equiv="refresh"' in shown
        assert "<b>run" not in shown
        assert "<script" not in shown
    assert "Training: step 1 of 4" in first
    assert re.findall("<figcaption>(.*?)</figcaption>", second) == [
        "loss: 1",
        "learning rate: 0.1",
        "validation mIoU: 0.25",
    ]
    last = page.path.read_text()
    assert "Finished: step 2 of 4" in last
    assert "refresh" not in last


def test_it_says_why_a_training_stopped(tmp_path):
    logged(tmp_path, {"step": 7, "loss": 2.0, "lr": 0.1})
    with pytest.raises(RuntimeError), TrainingPage(tmp_path, "run", 9) as page:
        raise RuntimeError("the loss is <nan>")
    shown = page.path.read_text()
    assert "Stopped: the loss is &lt;nan&gt;: step 7 of 9" in shown
    assert "refresh" not in shown
    with pytest.raises(KeyboardInterrupt), TrainingPage(tmp_path, "run", 9) as page:
        raise KeyboardInterrupt
    assert "Stopped: KeyboardInterrupt" in page.path.read_text()


def test_a_curve_spans_all_steps_and_averages_many_points():
    drawn = ET.fromstring(curve("a & b", [(step, float(step % 2)) for step in range(1, 1001)], 2000))
    line = drawn.find(".//polyline").get("points").split()
    assert len(line) == 200
    ends = [float(point.split(",")[0]) for point in (line[0], line[-1])]
    right = float(drawn.find(".//line").get("x2"))
    assert 84 < ends[0] < ends[1] < right
    assert ends[1] == pytest.approx((84 + right) / 2)
    assert ET.fromstring(curve("flat", [(1, 0.5)], 1)).find(".//circle") is not None


def test_the_line_about_a_step(monkeypatch):
    monkeypatch.setattr(step_text.time, "monotonic", iter((0, 0.5, 1)).__next__)
    monkeypatch.setattr(step_text, "peak_memory", lambda: 3 * 2**30)
    text = step_text.StepText(images_per_step=8)
    step = {"loss": 1.25, "lr": 1e-4}
    assert text(step) == "loss 1.2500, lr 1.0e-04, 3.0 GB"
    text(step)
    assert text(step) == "loss 1.2500, lr 1.0e-04, 16.0 images/s, 3.0 GB"


def test_peak_memory_is_that_of_this_process():
    assert 2**24 < step_text.peak_memory() < 2**40


@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_a_browser_sees_new_curves_and_stops_at_the_end(tmp_path, monkeypatch):
    """From the file alone, without a server; on a phone nothing scrolls sideways."""
    monkeypatch.setattr(pages, "_EVERY", 1.0)
    browser = Browser(tmp_path / "profile")
    try:
        with TrainingPage(tmp_path, "run", 4) as page:
            logged(tmp_path, {"step": 1, "loss": 2.0, "lr": 0.1})
            page.step()
            browser.open(page.path)
            assert browser.evaluate("document.querySelectorAll('svg').length") == 2
            logged(tmp_path, {"step": 2, "loss": 1.5, "lr": 0.1}, {"step": 2, "val": {"mIoU": 0.5}})
        browser.wait("document.readyState == 'complete' && document.body.innerText.includes('Finished: step 2 of 4')")
        assert browser.evaluate("document.querySelectorAll('svg').length") == 3
        assert browser.complaints() == []
        assert {url.split(":")[0] for url in browser.requests()} <= {"file", "data"}
        browser.call("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 360
        assert browser.evaluate("document.querySelector('meta[http-equiv=refresh]') === null")
    finally:
        browser.close()
