"""The notebooks: valid, without outputs, with one line to switch the models; executed as they are."""

import ast
import json
from importlib.util import find_spec

import pytest

NAMES = ("adapt", "attention", "captions", "own_head", "quickstart")
SECONDS = 600
"""Of a cell; a notebook takes below two minutes on two idle cores."""


@pytest.fixture(params=NAMES)
def notebook(request, repository):
    return repository / "examples" / f"{request.param}.ipynb"


def test_the_notebooks_are_these(repository):
    assert {path.stem for path in (repository / "examples").glob("*.ipynb")} == set(NAMES)
    listed = (repository / "examples" / "README.md").read_text()
    assert all(f"({name}.ipynb)" in listed for name in NAMES)


def test_a_notebook_is_valid_and_has_no_outputs(notebook):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in content["cells"]]
    assert len(ids) == len(set(ids))
    code = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    for cell in code:
        ast.parse("".join(cell["source"]))
    assert '"tiny"' in code[0]["source"][0], "the first line switches the models"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("nbclient") is None or find_spec("ipykernel") is None, reason="nbclient is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the kernel's own libraries
def test_a_notebook_runs(notebook, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    content = nbformat.read(notebook, as_version=4)
    NotebookClient(content, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in content.cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
