"""`tadp --version`: the versions that a report of a fault needs."""

from importlib.metadata import version

import torch
from invoking import tadp


def test_versions_of_what_computes_and_the_device():
    shown = tadp("--version")
    for name in ("torch", "diffusers", "transformers"):
        assert f"{name} {version(name)}" in shown
    assert f"tadp {version('tadp-cli')}" in shown
    assert f"CUDA {torch.version.cuda or 'torch is built without it'}" in shown
    assert f"cpu {torch.get_num_threads()} threads" in shown


def test_no_command_runs_and_none_is_needed():
    assert "python" in tadp("--version", "doctor")
    assert "python" not in tadp("recipes", "voc")
