"""The README's examples run as they stand."""

import re

import pytest
import torch
from bare import bare_environment, run_bare
from PIL import Image


@pytest.fixture(scope="module")
def examples(repository):
    text = (repository / "packages" / "heads" / "README.md").read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def _lines(code: str) -> list[str]:
    return [line for line in code.splitlines() if line.strip()]


def test_a_head(examples):
    names: dict = {}
    exec(compile(examples[0], "README.md", "exec"), names)
    assert names["logits"].shape == torch.Size((2, 3, 64, 96))
    assert 0 <= names["metrics"]["mIoU"] <= 1
    assert len(_lines(examples[0])) <= 12


def test_training(examples, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(examples[1], "README.md", "exec"), names)
    assert 0 <= float(capsys.readouterr().out) <= 1
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 20
    assert len([line for line in _lines(examples[1]) if "import" not in line]) <= 16
    assert names["model"].predict(Image.new("RGB", (30, 20))).ids.shape == (20, 30)


@pytest.mark.slow  # quick: the one before, and declared imports, in tests/contract/test_import_graph.py
def test_training_without_the_other_packages(examples, repository, tmp_path_factory, tmp_path):
    """With tadp-heads[train] alone."""
    absent = ("diffusers", "transformers", "peft", "typer", "tadp_cli", "tadp_backbone", "tadp_captioning")
    check = f"import importlib.util as u\nassert not [n for n in {absent} if u.find_spec(n)]\n"
    (tmp_path / "example.py").write_text(check + examples[1])
    bare = bare_environment(tmp_path_factory.mktemp("bare"), repository / "packages", "heads", "train")
    result = run_bare(bare, tmp_path / "example.py")
    assert result.returncode == 0, result.stderr
    assert 0 <= float(result.stdout) <= 1
