"""`tadp app` in a real browser: every tab used as a person would, two users at once, and what attackers try."""

import http.client
import os
import re
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec

import app_load
import pytest
from browser import CHROMIUM, Browser
from PIL import Image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("gradio") is None, reason="the extra tadp-cli[app] is not installed"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed"),
]

PROMPT = "#prompt textarea, #prompt input"
MAPS = "[...document.querySelectorAll('#word-maps figcaption b')].map(e => e.textContent)"


@pytest.fixture(scope="module")
def server(repository, tmp_path_factory):
    """(process, port, folder of the run)"""
    folder = tmp_path_factory.mktemp("app")
    run = shutil.copytree(repository / "tests/data/first_layout/run", folder / "run")
    command = [sys.executable, "-c", "from tadp_cli.main import main; main()", "app", str(run), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--labels", str(folder / "labels.jsonl")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "300"},
        cwd=folder,
    )
    lines = []
    for line in process.stdout:  # until it ends, if it does not serve
        lines.append(line)
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            break
    else:
        raise AssertionError("".join(lines))
    yield process, int(found[1]), run
    process.terminate()
    process.wait(60)
    process.stdout.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def opened(browser, server):
    browser.open(f"http://127.0.0.1:{server[1]}/")
    browser.wait(f"{MAPS}.length > 0")
    return browser


def choose(browser, tab):
    browser.evaluate(
        f"[...document.querySelectorAll('button[role=tab]')].find(e => e.textContent.trim() == {tab!r}).click()"
    )


def ask(server, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server[1], timeout=120)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_words_are_mapped_while_they_are_typed(browser, server):
    opened(browser, server).type(PROMPT, "a moon")
    browser.wait(f"{MAPS}.join() == 'moon,a'")
    browser.type(PROMPT, " and <b", replace=False)
    browser.wait(f"{MAPS}.join() == 'moon,b,a,and'")
    browser.type(PROMPT, ">", replace=False)
    browser.wait("document.querySelector('#word-maps').innerText.includes('unknown token')")
    assert browser.evaluate("document.querySelector('#word-maps b')") is None, "typed HTML is text"
    browser.type(PROMPT, "a moon")
    browser.wait(f"{MAPS}.join() == 'moon,a'")
    browser.click("#word-maps figure img")
    browser.wait("getComputedStyle(document.querySelector('#word-maps figure')).position == 'fixed'")
    browser.click("#word-maps figure img")
    browser.wait("getComputedStyle(document.querySelector('#word-maps figure')).position != 'fixed'")
    assert browser.complaints() == []
    asked = [url for url in browser.requests() if url.startswith("http")]
    assert {url.split("/")[2] for url in asked} == {f"127.0.0.1:{server[1]}"}


def test_every_other_tab_answers(browser, server):
    opened(browser, server)
    choose(browser, "Predict")
    browser.type("#second-prompt textarea, #second-prompt input", "a ring")
    browser.click("#predict")
    browser.wait("document.querySelectorAll('#predicted figure').length == 4")
    browser.wait("document.querySelectorAll('#files a').length >= 2")
    fetched = "fetch(document.querySelector('#files a').href).then(r => r.blob()).then(b => b.type + b.size)"
    assert re.fullmatch(r"image/png[1-9]\d*", browser.evaluate(fetched)), "the mask can be downloaded"
    legends = browser.evaluate("[...document.querySelectorAll('#predicted .tadp-legend b')].map(e => e.textContent)")
    assert legends == ["prompt 1", "prompt 2"]
    before = browser.evaluate("document.querySelectorAll('#predicted img')[1].src")
    browser.evaluate(
        "(e => { e.value = 1; e.dispatchEvent(new Event('input', {bubbles: true})); })"
        "(document.querySelector('#opacity input[type=range]'))"
    )
    browser.wait(f"document.querySelectorAll('#predicted img')[1].src != {before!r}")
    choose(browser, "Effect of each word")
    browser.click("#delete-words")
    browser.wait("document.querySelectorAll('#effects tbody tr').length > 2")
    browser.type("#old-word textarea, #old-word input", "no such word")
    browser.click("#replace-word")
    browser.wait("document.body.innerText.includes('is not in the prompt; its words are')")
    assert browser.evaluate("document.querySelectorAll('#effects .tadp-bar').length") == 1
    choose(browser, "Domain")
    browser.click("#compare-modifiers")
    browser.wait("document.querySelectorAll('#modified figure').length >= 3")
    assert browser.complaints() == []


def test_any_class_names_are_segmented_without_a_head(browser, server):
    opened(browser, server)
    choose(browser, "Segment")
    browser.type("#class-names textarea, #class-names input", "tree, <b>")
    browser.click("#segment")
    browser.wait("document.body.innerText.includes('unknown token')")
    browser.type("#class-names textarea, #class-names input", "tree, star")
    browser.click("#segment")
    browser.wait("/(tree|star) [0-9.]+ %/.test(document.querySelector('#segmented').innerText)")
    assert browser.evaluate("document.querySelectorAll('#segmented figure').length") == 2
    assert browser.complaints() == []


def test_names_are_proposed_drawn_and_kept(browser, server):
    opened(browser, server)
    choose(browser, "Labelling")
    browser.click("#propose")
    browser.wait(
        "document.querySelectorAll('#names input').length > 1 || document.body.innerText.includes('leave selected')"
    )
    if browser.evaluate("document.querySelectorAll('#names input').length > 1"):
        browser.click("#names input")
        browser.wait("document.querySelectorAll('#labelled figure').length == 2")
        browser.click("#accept")
        browser.wait("document.querySelector('#accepted').innerText.includes('kept in')")
        assert (server[2].parent / "labels.jsonl").read_text().count("\n") == 1


def test_uploads(browser, server, tmp_path):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "huge.png")
    Image.new("CMYK", (300, 200), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    opened(browser, server).upload("#upload input[type=file]", tmp_path / "huge.png")
    browser.wait("document.body.innerText.includes('has more than 25 megapixels')")
    browser.evaluate(
        "(e => e && e.click())(document.querySelector('#upload button[aria-label=Clear], #upload [title=Clear]'))"
    )
    browser.wait("document.querySelector('#upload input[type=file]') !== null")
    browser.upload("#upload input[type=file]", tmp_path / "print.jpg")
    browser.wait("document.querySelector('#chosen-image').innerText.includes('256x171')")


def test_without_a_run_two_users_get_the_answers_to_their_own_prompts(browser):
    with app_load.serving() as (process, port):
        found = app_load.measure(browser, port, process.pid, requests=20, users=2)
        choose(browser, "Segment")
        browser.click("#segment")
        browser.wait("document.querySelectorAll('#segmented .tadp-legend span').length > 0")
        choose(browser, "Predict")
        browser.click("#predict")
        browser.wait("document.body.innerText.includes('no run: start')")
    assert found["requests"] == 20
    before, after = found["memory_mb"]
    assert after - before < 80


def test_what_attackers_try(server):
    port = server[1]
    for path in (
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/gradio_api/file=%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        f"/gradio_api/file={server[2]}/config.toml",
        "/gradio_api/proxy=http://example.com/",
    ):
        status, body = ask(server, path)
        assert status >= 400, path
        assert b"root:" not in body
    assert ask(server, "/", Origin="https://evil.example")[0] == 403
    assert ask(server, "/", Host="evil.example")[0] == 403
    assert ask(server, "/", Origin=f"http://127.0.0.1:{port}")[0] == 200
    large = (
        b"--x\r\nContent-Disposition: form-data; name=files; filename=a.png\r\n\r\n"
        + bytes(21_000_000)
        + b"\r\n--x--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert ask(server, "/gradio_api/upload", "POST", large, **kind)[0] >= 400
    assert ask(server, "/")[0] == 200


def test_a_run_that_is_deleted_is_a_message_and_the_server_lives(browser, server):
    moved = server[2].with_name("moved")
    opened(browser, server)
    server[2].rename(moved)
    try:
        choose(browser, "Predict")
        browser.click("#predict")
        browser.wait("document.body.innerText.includes('is not in its folder any more')")
    finally:
        moved.rename(server[2])
    end = time.monotonic() + 60
    while ask(server, "/")[0] != 200:
        assert time.monotonic() < end
