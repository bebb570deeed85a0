"""Data of the first layout of the files, see tests/data/first_layout/make.py."""

import shutil
from pathlib import Path

import pytest
from invoking import tadp


@pytest.fixture(scope="session")
def first_layout(repository, tmp_path_factory) -> Path:
    """A copy, to be left as it is: photos, captions.jsonl, backbone, token, lora, and run with its state of step 2."""
    folder = tmp_path_factory.mktemp("layout") / "first_layout"
    shutil.copytree(repository / "tests" / "data" / "first_layout", folder)
    place_in(folder, "/first_layout")
    return folder


def place_in(folder: Path, old: str | Path) -> None:
    """Have the files of a folder that was copied name it in place of `old`."""
    for file in folder.rglob("*"):
        if file.suffix in (".json", ".jsonl", ".toml", ".md"):
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(str(old), str(folder)), encoding="utf-8")


@pytest.fixture(scope="session")
def resumed(first_layout, tmp_path_factory) -> Path:
    """The run, resumed after step 2 and finished by today's code, which evaluates after each step."""
    run = shutil.copytree(first_layout / "run", tmp_path_factory.mktemp("resumed") / "run")
    for file in ("results.json", "model.safetensors", "config.json", "README.md"):
        (run / file).unlink()
    shutil.rmtree(run / "backbone")
    tadp("train", first_layout / "run" / "config.toml", "--resume", "--out", run, "--set", "train.eval_every=1")
    return run
