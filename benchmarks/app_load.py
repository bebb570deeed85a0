"""`tadp app` with one user and with two at once: milliseconds from a key press to new maps, memory, whose answer it is.

    python benchmarks/app_load.py --requests 200

A server on the tiny model without a run, and tabs of headless Chromium, each with a Scene of its own. A request is one
key that ends a prompt; the time runs from the key's event to the maps of that prompt in the page.
"""

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from measuring import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from browser import CHROMIUM, Browser

PROMPTS = (("a red moon", "a star", "a tree and a ring"), ("a ring", "a blue house", "a drop on sand"))
"""Of each user; the last letter is typed."""
FIELD = "document.querySelector('#prompt textarea, #prompt input')"
WORDS = "[...document.querySelectorAll('#word-maps figcaption b')].map(e => e.textContent)"
MAPS = "[...document.querySelectorAll('#word-maps img')].map(e => e.src).join()"
_WATCH = f"""(() => {{
  {FIELD}.addEventListener('keydown', () => {{ window.pressed = performance.now(); }}, true);
  new MutationObserver(() => {{ window.drawn = performance.now(); }})
    .observe(document.querySelector('#word-maps'), {{subtree: true, childList: true, attributes: true}});
}})()"""


def measure(browser: Browser, port: int, pid: int, requests: int, *, users: int) -> dict[str, Any]:
    """`requests` of all users together, each user's asked before one is read; AssertionError for another's answer."""
    sessions = [browser.session, *(browser.tab() for _ in range(users - 1))]
    for number, session in enumerate(sessions):
        browser.session = session
        _open(browser, port, scene=number + 1)
    server = psutil.Process(pid)
    before, used = server.memory_info().rss, sum(server.cpu_times()[:2])
    times, seen = [], {}
    for turn in range(requests // users):
        asked = [(session, prompts[turn % len(prompts)]) for session, prompts in zip(sessions, PROMPTS, strict=False)]
        for session, prompt in asked:
            browser.session = session
            _press(browser, prompt)
        for session, prompt in asked:
            browser.session = session
            browser.wait(f"{WORDS}.toSorted().join() == {','.join(sorted(prompt.split()))!r}", every=0.02)
            times.append(browser.evaluate("window.drawn - window.pressed"))
            maps = browser.evaluate(MAPS)
            assert seen.setdefault(prompt, maps) == maps, f"the maps of {prompt!r} changed: another user's?"
    browser.session = sessions[0]
    assert len(set(seen.values())) == len(seen), "two prompts with the same maps"
    return {
        "requests": len(times),
        "median_ms": round(statistics.median(times)),
        "p95_ms": round(statistics.quantiles(times, n=20, method="inclusive")[18]),
        "server_cpu_ms": round(1000 * (sum(server.cpu_times()[:2]) - used) / len(times)),
        "memory_mb": [round(size / 1e6) for size in (before, server.memory_info().rss)],
    }


def _open(browser: Browser, port: int, scene: int) -> None:
    browser.open(f"http://127.0.0.1:{port}/")
    browser.wait(f"{WORDS}.length > 0")
    browser.type("#scene-number input", str(scene))
    browser.click("#take-scene")
    browser.wait(f"document.querySelector('#chosen-image').innerText.includes('scene {scene},')")
    browser.type("#prompt textarea, #prompt input", "sand")
    browser.wait(f"{WORDS}.join() == 'sand'")
    browser.evaluate(_WATCH)


def _press(browser: Browser, prompt: str) -> None:
    """All but the last letter is put into the field, which the page does not notice before the last one is typed."""
    browser.evaluate(f"(e => {{ e.focus(); e.value = {prompt[:-1]!r}; }})({FIELD})")
    for kind in ("keyDown", "keyUp"):
        text = {"text": prompt[-1]} if kind == "keyDown" else {}
        browser.call("Input.dispatchKeyEvent", type=kind, key=prompt[-1], **text)


@contextlib.contextmanager
def serving() -> Iterator[tuple[subprocess.Popen, int]]:
    """A server's process and port."""
    command = [sys.executable, "-c", "from tadp_cli.main import main; main()", "app", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout or ():
                if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
                    yield process, int(found[1])
                    return
            raise RuntimeError("the server did not start")
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200, help="of two users together; one alone makes a quarter")
    options = parser.parse_args()
    if not CHROMIUM:
        raise SystemExit("chromium is not installed")
    with serving() as (process, port), tempfile.TemporaryDirectory() as profile:
        browser = Browser(profile)
        try:
            one = measure(browser, port, process.pid, options.requests // 4, users=1)
            two = measure(browser, port, process.pid, options.requests, users=2)
        finally:
            browser.close()
            time.sleep(1)  # its processes write into the profile until they end
    print(json.dumps({"machine": machine(torch.device("cpu")), "one user": one, "two users": two}, indent=1))


if __name__ == "__main__":
    main()
