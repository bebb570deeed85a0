"""A run trained from the page, by the command in a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from tadp_cli.app.models import Models

RECIPE, STEPS = "scenes-segmentation", 150
_TADP = "from tadp_cli.main import main; main()"


def train_on_scenes(models: Models, runs_folder: Path) -> Iterator[tuple[str, Any]]:
    """Lines for the page while `tadp train` runs, then the run's name for the list; a failed one is shown as it is."""
    out = runs_folder / "app-scenes"
    if not (out / "results.json").is_file():
        yield f"Training {STEPS} steps into {out} ...", gr.skip()
        arguments = ["train", RECIPE, "--out", str(out), "--set", f"train.steps={STEPS}"]
        ended = subprocess.run([sys.executable, "-c", _TADP, *arguments], capture_output=True, text=True)
        if ended.returncode:
            yield f"```\n{(ended.stderr or ended.stdout)[-800:]}\n```", gr.skip()
            return
    name = models.add(out)
    yield f"{out} is ready.", gr.Dropdown(list(models.runs), value=name, visible=True)
