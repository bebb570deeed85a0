"""Headless Chromium for tests of pages."""

import base64
import io
import json
import os
import shutil
import subprocess
import time

import numpy as np
from PIL import Image

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


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
        self._enable()

    def _enable(self):
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    def tab(self):
        """The session of a new tab; it is spoken to while it is `session`."""
        before, self.session = self.session, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        made = self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._enable()
        self.session = before
        return made

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

    def open(self, page):
        """A path or an address."""
        self.events.clear()
        self.call("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.next()

    def evaluate(self, expression):
        """The value of an expression, of a promise what it resolves to."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression, seconds=120, every=0.1):
        """Until the expression is true; what it was at last, where it does not become so."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, self.evaluate("document.body.innerText")
            time.sleep(every)

    def click(self, selector):
        """With the mouse, in the middle of an element."""
        self.wait(f"document.querySelector({selector!r}) !== null")
        left, top = self.evaluate(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=left, y=top, button="left", clickCount=1)

    def type(self, selector, text, replace=True):
        """Into a field, key by key, in place of what is there or after it."""
        self.wait(f"document.querySelector({selector!r}) !== null")
        self.evaluate(
            f"(e => {{ e.focus(); {'e.select();' if replace else ''} }})(document.querySelector({selector!r}))"
        )
        for letter in text:
            self.call("Input.dispatchKeyEvent", type="keyDown", text=letter, key=letter)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=letter)

    def upload(self, selector, file):
        """Choose a file in a field for files."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(file)], nodeId=node)

    def complaints(self):
        """What the console shows and what was thrown since the page was opened."""
        kinds = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [event for event in self.events if event["method"] in kinds]

    def requests(self):
        """The addresses that were asked for since the page was opened."""
        asked = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in asked]

    def screenshot(self):
        shot = self.call("Page.captureScreenshot", format="png")["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")).astype(int)

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=20)
        os.close(self.read_end)
        os.close(self.write_end)
