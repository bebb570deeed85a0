"""The package in an environment that has its declared dependencies and nothing else."""

import re

import pytest
from bare import bare_environment, run_bare


@pytest.mark.slow  # quick: declared imports, in tests/contract/test_import_graph.py
def test_the_readmes_example_runs_without_the_other_packages(repository, tmp_path_factory, tmp_path):
    readme = (repository / "packages" / "backbone" / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL).group(1)
    absent = ("torchvision", "matplotlib", "nltk", "tadp_cli", "tadp_heads", "tadp_captioning", "tadp_personalize")
    check = f"import importlib.util as u\nassert not [n for n in {absent} if u.find_spec(n)]\n"
    (tmp_path / "example.py").write_text(check + example)
    bare = bare_environment(tmp_path_factory.mktemp("bare"), repository / "packages", "backbone")
    result = run_bare(bare, tmp_path / "example.py")
    assert result.returncode == 0, result.stderr
    assert "Level(channels=109, stride=4)" in result.stdout
