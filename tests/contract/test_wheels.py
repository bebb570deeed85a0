"""`python3 tasks.py build`: wheels for any machine, and a tiny model that runs from one, without Triton."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile

import pytest
from bare import bare_environment, run_bare

SCRIPT = """
import torch
from tadp_backbone import DiffusionBackbone
from tadp_backbone.kernels.available import HAS_TRITON
import tadp_backbone

assert not HAS_TRITON
assert "installed" in tadp_backbone.__file__, tadp_backbone.__file__
backbone = DiffusionBackbone.from_pretrained("tiny")
with torch.no_grad():
    features = backbone(torch.zeros(1, 3, 32, 32), backbone.encode_text(["a red star"]))
print([tuple(level.shape[2:]) for level in features.levels])
"""


@pytest.fixture(scope="module")
def wheels(repository, tmp_path_factory):
    """Built from a copy of the sources, as building leaves files next to them."""
    root = tmp_path_factory.mktemp("checkout")
    shutil.copytree(repository / "packages", root / "packages", ignore=shutil.ignore_patterns("__pycache__", "build"))
    spec = importlib.util.spec_from_file_location("tasks", repository / "tasks.py")
    tasks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tasks)
    (command,) = tasks.commands_of("build", ["--quiet"], root)
    command[0] = sys.executable
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return {path.name.split("-")[0]: path for path in (root / "dist").iterdir()}


@pytest.mark.slow
def test_there_is_one_for_each_package_and_any_machine(wheels):
    names = ("backbone", "captioning", "cli", "heads", "personalize")
    assert sorted(wheels) == [f"tadp_{name}" for name in names]
    assert all(path.name.endswith("-py3-none-any.whl") for path in wheels.values())


@pytest.mark.slow
def test_a_tiny_model_runs_from_a_wheel_in_a_bare_environment_without_triton(repository, wheels, tmp_path):
    installed = tmp_path / "installed"
    installed.mkdir()
    bare_environment(installed, repository / "packages", "backbone")
    (installed / "tadp_backbone").unlink()
    (installed / "triton").unlink(missing_ok=True)
    with zipfile.ZipFile(wheels["tadp_backbone"]) as wheel:
        wheel.extractall(installed)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    result = run_bare(installed, script)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("[(8, 8), (4, 4), (2, 2)]\n")
