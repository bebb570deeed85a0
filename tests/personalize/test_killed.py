"""Processes that are killed and processes that are asked to stop, and the runs that resume from what they left."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from tadp_personalize import DreamBoothConfig, TextualInversionConfig, dreambooth, textual_inversion

SMALL = {"steps": 6, "batch_size": 2, "learning_rate": 3e-3, "save_every": 2, "schedule": "cosine", "warmup": 2}
METHODS = {
    "textual_inversion": (textual_inversion, TextualInversionConfig(accumulate=2, vectors=2, **SMALL)),
    "dreambooth": (dreambooth, DreamBoothConfig(accumulate=2, cache_latents=True, **SMALL)),
}
# A process of its own; the arguments are the tests' folder, the method, where to write, and the last step (0: none).
SCRIPT = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from conftest import toy_pictures, toy_pipeline
from test_killed import METHODS
def progress(done, steps, loss):
    if done == int(sys.argv[4]):
        os.kill(os.getpid(), 9)
    if sys.argv[4] == "0":
        time.sleep(0.2)
method, config = METHODS[sys.argv[2]]
result = method(toy_pipeline(), toy_pictures(4), config=config, out=sys.argv[3], progress=progress)
print("finished", result.finished, result.steps, result.path)
"""


def command(request, name, out, last):
    return [sys.executable, "-c", SCRIPT, str(request.path.parent), name, str(out), str(last)]


def losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights(result):
    files = [result.path] if result.path.is_file() else sorted(result.path.rglob("*.safetensors"))
    return [tensor for file in files for _, tensor in sorted(load_file(file).items())]


def check_that_it_resumes_as_if_nothing_had_happened(name, pipe, pictures, folder, tmp_path):
    method, config = METHODS[name]
    rest = method(pipe, pictures, config=config, out=folder, resume=True)
    whole = method(pipe, pictures, config=config, out=tmp_path / "whole")
    assert losses(folder) == losses(whole.folder)
    assert len(losses(folder)) == 6
    assert all(torch.equal(a, b) for a, b in zip(weights(rest), weights(whole), strict=True))
    assert not list(folder.rglob("*.part"))


@pytest.mark.slow  # quick: signals within the process in test_loop.py, and faults in tests/cli/test_faults.py
@pytest.mark.parametrize("name", METHODS)
def test_kill_9(name, pipe, pictures, tmp_path, request):
    folder = tmp_path / "killed"
    killed = subprocess.run(command(request, name, folder, 3), check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(losses(folder)) == 3  # one more than the last state has
    assert not (folder / "README.md").exists()
    check_that_it_resumes_as_if_nothing_had_happened(name, pipe, pictures, folder, tmp_path)


def test_a_half_written_state_is_not_taken_for_one(pipe, pictures, tmp_path):
    """What a kill in the middle of writing leaves: a file under another name, and half a line of metrics."""
    method, config = METHODS["textual_inversion"]
    folder = tmp_path / "killed"
    method(pipe, pictures, config=config, out=folder)
    (folder / "state" / ".state.pt.1.part").write_bytes(b"PK half a file")
    with (folder / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 7, "loss": 0.1')
    before = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()[:6]]
    method(pipe, pictures, config=config, out=folder, resume=True)
    assert [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] == before


@pytest.mark.slow
def test_sigterm(pipe, pictures, tmp_path, request):
    folder = tmp_path / "stopped"
    started = subprocess.Popen(command(request, "dreambooth", folder, 0), stdout=subprocess.PIPE, text=True)
    try:
        while not (folder / "metrics.jsonl").is_file() or not losses(folder):
            assert started.poll() is None
            time.sleep(0.05)
        started.send_signal(signal.SIGTERM)
        said = started.communicate(timeout=120)[0]
    finally:
        started.kill()
    assert started.returncode == 0
    state = torch.load(folder / "state" / "state.pt", weights_only=True)
    assert said.split()[:3] == ["finished", "False", str(state["step"])]
    assert len(losses(folder)) == state["step"] < 6
    check_that_it_resumes_as_if_nothing_had_happened("dreambooth", pipe, pictures, folder, tmp_path)
