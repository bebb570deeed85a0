"""`tadp serve` in a process of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path


def started(run: Path, *options: str, key: str = "") -> tuple[subprocess.Popen[str], int]:
    """The process of a server that takes requests, and its port; `key`: requests must carry it."""
    command = [sys.executable, "-c", "from tadp_cli.main import main; main()", "serve", str(run), "--port", "0"]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TADP_SERVE_KEY": key, "COLUMNS": "300"},
    )
    guard = "with the key of TADP_SERVE_KEY" if key else "without a key"
    assert process.stdout is not None
    lines = []
    for line in process.stdout:  # until it ends, if it does not serve
        if found := re.search(rf"http://127\.0\.0\.1:(\d+) {guard}", line):
            return process, int(found[1])
        lines.append(line)
    raise AssertionError("".join(lines))


def stop(process: subprocess.Popen[str]) -> None:
    """End it, if it still runs."""
    if process.poll() is None:
        process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
