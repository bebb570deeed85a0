"""`tadp export --format web`: the page in a real browser, typed into, opened from the disk and from a server."""

import functools
import http.server
import json
import shutil
import threading

import numpy as np
import pytest
from browser import CHROMIUM, Browser
from invoking import tadp
from transformers import CLIPTokenizer

from tadp_backbone.registry import TINY_FOLDER
from tadp_backbone.text.encoder import tokenize
from tadp_backbone.text.word_attention import words_of
from tadp_heads.export.web import site
from tadp_heads.export.web.runtime import runtime_files

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
TEXTS = (
    "a red star and a tree on sand",
    "",
    "  A Watercolor-painting, of (two) ZEBRAS!? it's 42 x",
    "a <night> photo of a cat",
    "ein Ärger, 漢字 🦓 naïve e\u0301",
    "a tree " * 60,
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def tokenizer():
    """That of tiny, with a token that was learned as two vectors."""
    loaded = CLIPTokenizer.from_pretrained(TINY_FOLDER / "tokenizer")
    loaded.add_tokens(["<night>", "<night>_1"])
    return loaded


def test_the_page_reads_a_prompt_as_the_model_does(browser, tokenizer, repository, tmp_path):
    script = repository / "packages/heads/src/tadp_heads/export/web/page/tokenizer.js"
    page = tmp_path / "page.html"
    settings = json.dumps(site.tokenizer_settings(tokenizer))
    read = f"const read = new Tokenizer({settings});"
    page.write_text(f"<meta charset=utf-8><script>{script.read_text()}{read}</script>")
    browser.open(page)
    for text in TEXTS:
        found = browser.evaluate(f"read.encode({json.dumps(text)})")
        assert found["ids"] == tokenize(tokenizer, [text])[0].tolist(), text
        expected = [(word.text, list(word.indices)) for word in words_of(tokenizer, text)]
        assert [word["positions"] for word in found["words"]] == [positions for _, positions in expected]
        assert found["isCut"] == (len(text) > 200)
    assert [word["text"] for word in browser.evaluate("read.encode('a <night> Cat').words")] == ["a", "<night>", "cat"]
    assert browser.complaints() == []


@pytest.fixture(scope="module")
def runtime():
    """Skips where the page's runtime can neither be found nor fetched."""
    try:
        runtime_files()
    except RuntimeError as error:
        pytest.skip(str(error))
    pytest.importorskip("onnxruntime", reason="the extra tadp-heads[export] is not installed")


# The export of tiny takes a minute of a slow core; tests/heads/test_export_web.py has what is quick.
@pytest.fixture(scope="module")
def folder(runtime, tmp_path_factory):
    out = tmp_path_factory.mktemp("export") / "site"
    output = tadp("export", "tiny", "--format", "web", "--out", out)
    assert "largest difference: maps" in output
    assert sum(path.stat().st_size for path in out.iterdir()) < 30_000_000
    return out


@pytest.fixture
def served(folder):
    """The address of `python -m http.server` in the folder."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def ready(browser):
    browser.wait("['ready', 'failed'].includes(document.body.dataset.state)")
    assert browser.evaluate("document.body.dataset.state") == "ready", browser.evaluate("page.status.textContent")


def typed(browser, text):
    """Words with their maps' maxima, and the mask's legend, after `text` was entered in place of the prompt."""
    browser.evaluate("page.prompt.focus(), page.prompt.select()")
    browser.call("Input.insertText", text=text)
    browser.wait(f"document.body.dataset.prompt === {json.dumps(text)} && document.body.dataset.state === 'ready'")
    words = browser.evaluate("[...page.maps.querySelectorAll('figcaption')].map(c => c.firstChild.textContent)")
    largest = browser.evaluate("[...page.maps.querySelectorAll('small')].map(s => Number(s.textContent.slice(4)))")
    return dict(zip(words, largest, strict=True)), browser.evaluate("page.legend.innerText.split('\\n')")


def mask(browser):
    return browser.evaluate("page.mask.toDataURL()")


@pytest.mark.slow
def test_a_typed_word_changes_maps_and_mask(browser, folder):
    browser.open(folder / "index.html")
    ready(browser)
    maps, legend = typed(browser, "flower moon")
    assert legend == ["flower", "moon"]
    assert min(maps.values()) > 0.3
    before = mask(browser)
    maps, legend = typed(browser, "moon")
    assert list(maps) == legend == ["moon"]
    assert mask(browser) != before
    assert typed(browser, "") == ({}, [""])
    maps, _ = typed(browser, "a zebra")
    assert browser.evaluate("page.maps.querySelector('.pieces').innerText").startswith("zebra")
    browser.evaluate("page.images.children[3].click()")
    browser.wait("page.prompt.value === site.images[3].caption && document.body.dataset.prompt === page.prompt.value")
    assert browser.complaints() == []
    assert {url.split(":")[0] for url in browser.requests()} == {"file", "data", "blob"}
    files = [url for url in browser.requests() if url.startswith("file:")]
    assert all(url.startswith(folder.as_uri() + "/") for url in files)


@pytest.mark.slow
def test_the_page_of_a_trained_run_shows_its_head_s_mask(browser, runtime, repository, tmp_path):
    """A run of three steps: its classes are in the legend, and what is typed reaches the head."""
    data = repository / "tests" / "data" / "first_layout"
    run = shutil.copytree(data / "run", tmp_path / "run")
    told = tadp("export", run, "--format", "web", "--out", tmp_path / "site")
    assert "logits" in told
    browser.open(tmp_path / "site" / "index.html")
    ready(browser)
    masks = {}
    for text in ("", "circle", "a red star and tree"):
        maps, legend = typed(browser, text)
        assert list(maps) == text.split()
        assert set(legend) <= set((data / "photos" / "classes.txt").read_text().split())
        masks[text] = mask(browser)
    assert len(set(masks.values())) > 1
    assert browser.complaints() == []


@pytest.mark.slow
def test_it_also_runs_from_a_server_and_asks_for_nothing_else(browser, served):
    browser.open(served)
    ready(browser)
    assert typed(browser, "flower")[1] == ["flower"]
    assert browser.complaints() == []
    asked = [url for url in browser.requests() if not url.startswith(("data:", "blob:"))]
    assert all(url.startswith(served) for url in asked)


@pytest.mark.slow
def test_light_and_dark_wide_and_narrow(browser, folder):
    browser.open(folder / "index.html")
    ready(browser)
    brightness = {}
    for scheme in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        brightness[scheme] = np.median(browser.screenshot())
    assert brightness["light"] > 200
    assert brightness["dark"] < 60
    for width in (360, 1200):
        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
