"""The files of the demo, and the seeds of its Scenes."""

from pathlib import Path

SOURCE = "photo"
SEEDS = {"train": 100, "val": 101, "test": 102, "domain": 103}
"""Seeds of the Scenes of each purpose: no scene is in two of them, and none was seen in pre-training."""


def data_folder(out: Path, task: str, domain: str) -> Path:
    return out / "data" / task / domain


def captions_file(out: Path, domain: str) -> Path:
    """Captions as prompts are made of them: those of a target have lost the words that name it."""
    return out / "captions" / (f"{domain}.jsonl" if domain == SOURCE else f"{domain}_clean.jsonl")


def run_folder(out: Path, task: str, name: str) -> Path:
    return out / "runs" / task / name
