"""A run trained from the page, by the command in a process of its own."""

import html
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from tadp_cli.app.models import Models

RECIPE, STEPS = "scenes-segmentation", 150
_LINES = 10
"""Of a training that failed, the last ones are shown."""
_TADP = "from tadp_cli.main import main; main()"


def train_on_scenes(models: Models, runs_folder: Path) -> Iterator[tuple[str, Any]]:
    """What `tadp train` prints, for the page, then the run's name for the list; a failed one is shown as it is.

    A page that is closed meanwhile stops the training, which resumes at the next click.
    """
    out = runs_folder / "app-scenes"
    if not (out / "results.json").is_file():
        yield f"Training {STEPS} steps into {out} ...", gr.skip()
        arguments = ["train", RECIPE, "--out", str(out), "--set", f"train.steps={STEPS}"]
        command = [sys.executable, "-c", _TADP, *arguments]
        lines: list[str] = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as training:
            try:
                for line in training.stdout or ():
                    lines.append(line)
                    yield _shown(lines[-1:]), gr.skip()
            except GeneratorExit:
                training.terminate()
                raise
        if training.returncode:
            yield _shown(lines[-_LINES:]), gr.skip()
            return
    name = models.add(out)
    yield f"{out} is ready.", gr.Dropdown(list(models.runs), value=name, visible=True)


def _shown(lines: list[str]) -> str:
    return f"<pre>{html.escape(''.join(lines))}</pre>"
