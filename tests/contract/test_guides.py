"""The commands of docs/hub.md, docs/deployment.md and docs/gpus.md run as they are printed, on a small run.

Only sizes and amounts are reduced, by further options; what pip installs is there, and ports are free ones.
"""

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from guides import commands
from invoking import tadp
from official_layouts import voc_segmentation
from PIL import Image
from serving import started, stop


@pytest.fixture
def place(first_layout, tmp_path, monkeypatch):
    """A folder with what the guides name: runs/first, tokens/watercolor, captions.jsonl, photos, photo.jpg."""
    shutil.copytree(first_layout / "run", tmp_path / "runs" / "first")
    shutil.copytree(first_layout / "token", tmp_path / "tokens" / "watercolor")
    shutil.copy(first_layout / "captions.jsonl", tmp_path)
    shutil.copytree(first_layout / "photos" / "images", tmp_path / "photos")
    Image.open(tmp_path / "photos" / "val_00004.png").convert("RGB").resize((48, 40)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # the hub client's own
def test_what_the_hub_page_pushes_is_taken_by_its_name(repository, place, hub):
    page = repository / "docs" / "hub.md"
    pushed = [words[1:] for words in commands(page)]
    for words in pushed:
        tadp(*words)
    assert [name for _, name in hub.commits] == [words[2] for words in pushed]
    (call,) = re.findall(r"`tadp (predict [^`]+)`", page.read_text(encoding="utf-8"))
    tadp(*call.split())
    assert len(list((place / "predictions").glob("*mask.png"))) == len(list((place / "photos").iterdir()))


@pytest.mark.slow  # exports a UNet; tests/heads/test_export.py exports what is quick
def test_an_exported_file_runs_in_the_lines_of_the_page(repository, place):
    pytest.importorskip("onnxruntime", reason="the extra tadp-heads[export] is not installed")
    page = repository / "docs" / "deployment.md"
    (call,) = [words for words in commands(page) if words[:2] == ["tadp", "export"]]
    tadp(*call[1:], "--size", "64x64", "--caption", "a circle")
    shutil.copy(place / "photos" / "val_00004.png", place / "photo.png")
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(compile(code.replace("512", "64"), page.name, "exec"), names)
    assert names["mask"].shape == (64, 64)
    classes = (repository / "tests/data/first_layout/photos/classes.txt").read_text().split()
    assert names["mask"].max() < len(classes)


@pytest.mark.slow
def test_the_server_answers_the_requests_of_the_page(repository, place):
    pytest.importorskip("uvicorn", reason="the extra tadp-cli[serve] is not installed")
    lines = (repository / "docs" / "deployment.md").read_text(encoding="utf-8").splitlines()
    requests = [line for line in lines if line.startswith("curl ")]
    (load,) = [found[1] for line in lines if (found := re.search(r"`python (benchmarks/serve.py [^`]+)`", line))]
    process, port = started(place / "runs" / "first")
    try:
        for line in requests:
            subprocess.run(line.replace("localhost:8000", f"127.0.0.1:{port}"), shell=True, check=True)
        script, url, image = load.replace("8000", str(port)).split()
        few = ("--requests", "4", "--clients", "1", "2")
        result = subprocess.run([sys.executable, repository / script, url, image, *few], capture_output=True, text=True)
    finally:
        stop(process)
    assert result.returncode == 0, result.stderr
    assert [line.split()[2] for line in result.stdout.splitlines()[1:]] == ["0", "0"], "lost"
    assert len(requests) == 2
    with Image.open(place / "mask.png") as mask, Image.open(place / "overlay.png") as overlay:
        assert (mask.size, overlay.size) == ((48, 40), (48, 40))
        assert np.asarray(mask).max() < 20


@pytest.mark.slow
def test_a_run_is_timed_by_the_line_of_the_page(repository, place, monkeypatch):
    monkeypatch.setattr("tadp_heads.export.timing.SECONDS", 0.01)
    (call,) = [words for words in commands(repository / "docs" / "deployment.md") if words[1] == "benchmark"]
    small = {"512x512": "64x64", "256x256": "32x32"}
    told = tadp(*(small.get(word, word) for word in call[1:]), "--device", "cpu")
    assert told.count("64x64") == told.count("32x32") == 2
    assert (place / "costs.json").is_file()


@pytest.mark.slow
def test_a_recipe_of_the_paper_fits_by_the_line_of_the_page(repository, place):
    """On images of the official layout, with the small backbone in the place of Stable Diffusion's."""
    for split in ("trainaug", "val"):
        voc_segmentation(place / "data" / "voc2012", split, size=(96, 64))
    (call,) = commands(repository / "docs" / "gpus.md")
    small = ("backbone.source=tiny", "data.captioner=tiny", "protocol=whole")
    few = ("train.steps=1", "train.size=64", "train.accumulate=1", "train.workers=0")
    tadp(*call[1:], *(word for setting in (*small, *few) for word in ("--set", setting)))
    assert (place / "runs" / "voc" / "results.json").is_file()
