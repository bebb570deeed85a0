"""The Dockerfile, read without Docker: what it copies and installs is there, and `tadp` takes its command."""

import json
import re
import tomllib

import pytest
from typer.main import get_command

from tadp_cli.main import app


@pytest.fixture(scope="module")
def lines(repository):
    """{instruction: arguments, in order}."""
    text = (repository / "Dockerfile").read_text().replace("\\\n", " ")
    found = re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE)
    return {name: [arguments for other, arguments in found if other == name] for name, _ in found}


def test_what_is_copied_and_installed_is_there(repository, lines):
    assert [arguments.split() for arguments in lines["COPY"]] == [["packages", "packages"]]
    wanted = re.findall(r"\./packages/(\w+)(?:\[(\w+)\])?", " ".join(lines["RUN"]))
    assert sorted(name for name, _ in wanted) == sorted(
        p.parent.name for p in repository.glob("packages/*/pyproject.toml")
    )
    for name, extra in wanted:
        project = tomllib.loads((repository / "packages" / name / "pyproject.toml").read_text())["project"]
        assert not extra or extra in project["optional-dependencies"]


def test_torch_comes_first_and_without_cuda(lines):
    assert "torch torchvision --index-url" in lines["RUN"][0]
    assert lines["RUN"][0].endswith('"$TORCH_CPU_INDEX"')
    assert lines["ARG"] == ["TORCH_CPU_INDEX"]


def test_its_command_serves_to_the_port_that_it_exposes(lines):
    (command,) = (json.loads(arguments) for arguments in lines["CMD"])
    assert command[:2] == ["tadp", "serve"]
    given = get_command(app).commands["serve"].make_context("serve", command[2:]).params
    assert str(given["port"]) == lines["EXPOSE"][0]
    assert (given["host"], given["device"]) == ("0.0.0.0", "cpu")
