"""Pages of docs/results are what their results files say."""

import json

import pytest
import result_pages

MACHINE = {"commit": "abc", "device": "a processor", "torch": "2.11"}
SCENES = {
    "vae": {"command": "python benchmarks/scenes.py vae", "machine": MACHINE, "images": 2, "db": {"photo": 29.31}},
    "grid": {
        "command": "python benchmarks/scenes.py grid",
        "machine": MACHINE,
        "seeds": 2,
        "settings": {"train_images": 3, "scored_images": 4, "steps": 5},
        "mIoU": {"empty": {"photo": [0.2, 0.3]}, "oracle": {"photo": [0.5, 0.5]}},
    },
}


def test_a_page_shows_means_and_spread_and_how_they_were_measured():
    page = result_pages.scenes(SCENES)
    assert "| photo |\n| ---: |\n| 29.3 |" in page
    assert "| empty | 25.0 ± 7.1 |\n| oracle | 50.0 ± 0.0 |" in page
    assert "heads trained on 3 photos in 5 steps" in page
    assert page.count("commit abc, a processor, torch 2.11") == 2
    assert "not evidence about photographs" in page


def test_a_class_that_is_never_named_or_never_there_is_undefined():
    known = {"precision": 0.5, "recall": 0.25}
    photo = {**known, "classes": {"ring": known, "star": {"precision": None, "recall": 0.0}}, "examples": ["a ring"]}
    part = {"images": 2, "domains": {"photo": photo, "night": {**known, "classes": {"ring": known}, "examples": ["b"]}}}
    page = result_pages.scenes({"captioner": {"command": "c", "machine": MACHINE, **part}})
    assert "| ring | 50 / 25 | 50 / 25 |\n| star | undefined / 0 | undefined / undefined |" in page


@pytest.mark.parametrize("name", result_pages.PAGES)
def test_committed_pages_are_generated(name):
    source = result_pages.FOLDER / f"{name}.json"
    assert (result_pages.FOLDER / f"{name}.md").read_text() == result_pages.PAGES[name](json.loads(source.read_text()))
