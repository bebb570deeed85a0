"""The files of the demo."""

from pathlib import Path

from tadp_cli.inputs.scenes_data import SOURCE


def data_folder(out: Path, task: str, domain: str) -> Path:
    return out / "data" / task / domain


def captions_file(out: Path, domain: str) -> Path:
    """Captions as prompts are made of them: those of a target have lost the words that name it."""
    return out / "captions" / (f"{domain}.jsonl" if domain == SOURCE else f"{domain}_clean.jsonl")


def run_folder(out: Path, task: str, name: str) -> Path:
    return out / "runs" / task / name
