"""Data of the first layout of the files, see tests/data/first_layout/make.py; a hub on this machine."""

import shutil
from pathlib import Path

import huggingface_hub
import pytest
from hub_server import hub_server
from huggingface_hub import constants
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


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub for the client, which keeps what it downloads in this test's folder."""
    with hub_server() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        addresses = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for module in (constants, huggingface_hub.file_download):
            monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", addresses, raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the server speaks LFS
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_of_this_test")
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        huggingface_hub.utils.disable_progress_bars()
        yield server
