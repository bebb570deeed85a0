"""The state from which a run resumes exactly: one file in state/, replaced as a whole."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tadp_personalize._io import replacing, write_text
from tadp_personalize._read_errors import reading
from tadp_personalize.io.tokens import CARD_DATA_FILE

STATE_FILE = Path("state") / "state.pt"
METRICS_FILE = "metrics.jsonl"
RESULTS_FILE = "results.json"
README_FILE = "README.md"
_FIX = "it is no intact state of this run: delete it to start again"


def save_state(
    folder: Path, *, step: int, settings: dict[str, Any], trained: dict[str, nn.Parameter], optimizer: Any, scaler: Any
) -> None:
    """Write the state after `step` updates. Draws need no state: batch k depends on the seed and k only."""
    state = {
        "step": step,
        "settings": settings,
        "trained": {name: parameter.detach().cpu() for name, parameter in trained.items()},
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict() if scaler is not None else {},
    }
    with replacing(folder / STATE_FILE) as partial, partial.open("wb") as file:
        torch.save(state, file)


def load_state(
    folder: Path, *, settings: dict[str, Any], trained: dict[str, nn.Parameter], optimizer: Any, scaler: Any
) -> int:
    """Put the saved state into parameters, optimizer and scaler; return the updates done, 0 without a state."""
    file = folder / STATE_FILE
    if not file.is_file():
        return 0
    with reading(file, _FIX):
        state = torch.load(file, weights_only=True, map_location="cpu")
        differing = [name for name, value in settings.items() if state["settings"].get(name) != value]
    if differing:
        changes = "; ".join(
            f"{name} was {state['settings'].get(name)!r}, is now {settings[name]!r}" for name in differing
        )
        raise ValueError(
            f"{folder} cannot be resumed with other settings: {changes}; use the old ones or another folder"
        )
    with torch.no_grad(), reading(file, _FIX):
        for name, parameter in trained.items():
            parameter.copy_(state["trained"][name])
        optimizer.load_state_dict(state["optimizer"])
        if scaler is not None:
            scaler.load_state_dict(state["scaler"])
        return int(state["step"])


def begin_files(folder: Path, step: int) -> None:
    """Make the folder that of an unfinished run after `step` updates, whatever was in it.

    A killed run had done more steps than its last state holds; a new run in an old folder must not find the old state,
    and until it is finished nobody must take the old results and card for its own.
    """
    for name in (RESULTS_FILE, CARD_DATA_FILE, README_FILE):
        (folder / name).unlink(missing_ok=True)
    if step == 0:
        (folder / STATE_FILE).unlink(missing_ok=True)
    file = folder / METRICS_FILE
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
    write_text(file, "".join(f"{line}\n" for line in kept))
