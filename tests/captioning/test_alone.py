"""The package in an environment that has its declared dependencies and nothing else."""

import re

import pytest
from bare import bare_environment, run_bare
from PIL import Image


@pytest.mark.slow  # quick: declared imports, in tests/contract/test_import_graph.py
def test_the_readmes_example_runs_without_the_other_packages_and_what_they_need(repository, tmp_path_factory, tmp_path):
    """No torchvision, diffusers or sibling: with the captioner that the package ships."""
    (tmp_path / "photos").mkdir()
    for colour in ("red", "blue", "green"):
        Image.new("RGB", (64, 48), colour).save(tmp_path / "photos" / f"{colour}.png")
    readme = (repository / "packages" / "captioning" / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL).group(1)
    absent = ("torchvision", "diffusers", "peft", "accelerate", "tadp_cli", "tadp_heads", "tadp_backbone")
    check = f"import importlib.util as u\nassert not [n for n in {absent} if u.find_spec(n)]\n"
    (tmp_path / "example.py").write_text(check + example)
    bare = bare_environment(tmp_path_factory.mktemp("bare"), repository / "packages", "captioning")
    result = run_bare(bare, tmp_path / "example.py")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("->") == 3
    assert result.stdout.count("a watercolor style painting") == 3
