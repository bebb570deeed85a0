"""The files of the demo, and the seeds of its Scenes."""

from pathlib import Path

SOURCE = "photo"
SEEDS = {"train": 100, "val": 101, "test": 102, "look": 103}
"""Seeds of the Scenes of each purpose: no scene is in two of them, and none was seen in pre-training."""


def data_folder(out: Path, task: str, look: str) -> Path:
    return out / "data" / task / look


def captions_file(out: Path, look: str) -> Path:
    """Captions as prompts are made of them: those of a target have lost the words that name its look."""
    return out / "captions" / (f"{look}.jsonl" if look == SOURCE else f"{look}_clean.jsonl")


def run_folder(out: Path, task: str, name: str) -> Path:
    return out / "runs" / task / name
