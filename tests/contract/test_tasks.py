"""tasks.py: what it runs, when it sets up anew, how it explains what went wrong."""

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TASK_NAMES = ("setup", "demo", "test", "lint", "bench", "results", "docs", "release", "build", "pretrain")

# A build backend in the tree, so that a real pip installs a real package without a network.
BACKEND = """
import zipfile, tomllib

def get_requires_for_build_editable(config_settings=None):
    return []

def build_editable(directory, config_settings=None, metadata_directory=None):
    project = tomllib.loads(open("pyproject.toml").read())["project"]
    name, info = f"{project['name']}-1.0-py3-none-any.whl", f"{project['name']}-1.0.dist-info"
    needs = "".join(f"Requires-Dist: {d}\\n" for d in project["dependencies"])
    with zipfile.ZipFile(f"{directory}/{name}", "w") as wheel:
        wheel.writestr(f"{project['name']}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: 1.0\\n{needs}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""
MEMBER = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "{name}"
version = "1.0"
dependencies = {dependencies}
"""


@pytest.fixture(scope="module")
def tasks(repository):
    spec = importlib.util.spec_from_file_location("tasks", repository / "tasks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def workspace(repository, tmp_path):
    """A checkout of two small packages, the second of which needs the first."""
    shutil.copy(repository / "tasks.py", tmp_path)
    (tmp_path / "constraints.txt").write_text("")
    (tmp_path / "pyproject.toml").write_text("[dependency-groups]\ndev = []\n")
    write_member(tmp_path, "alpha", ["zeta==1.0"])
    write_member(tmp_path, "zeta", [])
    return tmp_path


def write_member(root: Path, name: str, dependencies: list[str]) -> None:
    folder = root / "packages" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(MEMBER.format(name=name, dependencies=dependencies))
    (folder / "backend.py").write_text(BACKEND)


def without_settings() -> dict[str, str]:
    """The environment, with a pip that knows no settings of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    return kept | {"PIP_CONFIG_FILE": os.devnull}


def run_tasks(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    """As a user does, without a network."""
    environment = without_settings() | {"PIP_NO_INDEX": "1"}
    command = [sys.executable, str(root / "tasks.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def test_without_arguments_it_lists_the_tasks(tasks, capsys):
    assert tasks.main([]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert listed == list(TASK_NAMES)


def test_an_unknown_task_is_wrong_use(tasks, capsys):
    assert tasks.main(["tset"]) == 2
    message = capsys.readouterr().err
    assert "tset" in message
    assert "test" in message


def test_an_old_python_can_read_it(repository):
    """Else it would end in a syntax error instead of the sentence about the version."""
    ast.parse((repository / "tasks.py").read_text(), feature_version=(3, 8))


def test_an_old_python_is_reported(tasks):
    tasks.check_python((3, 11, 0))
    with pytest.raises(tasks.TaskError, match=r"This is Python 3\.9\.2; at least 3\.11 is needed"):
        tasks.check_python((3, 9, 2))


def test_a_full_disk_is_reported_before_the_download(tasks, tmp_path):
    tasks.check_disk(tmp_path, 0)
    with pytest.raises(tasks.TaskError, match=r"GB free, the environment needs about 1e\+09 GB"):
        tasks.check_disk(tmp_path, 1e9)


def test_arguments_are_passed_on(tasks, tmp_path):
    (demo,) = tasks.commands_of("demo", ["--out", "x"], tmp_path)
    assert demo[1:] == ["demo", "--out", "x"]
    assert Path(demo[0]).is_relative_to(tmp_path / ".venv")
    (pretrain,) = tasks.commands_of("pretrain", ["--seed", "3"], tmp_path)
    assert pretrain[1:] == ["-m", "pretrain", "--seed", "3"]
    (test,) = tasks.commands_of("test", ["tests/backbone", "-k", "maps"], tmp_path)
    assert test[1:] == ["-m", "pytest", *tasks.SIDE_BY_SIDE, "-m", "not slow", "tests/backbone", "-k", "maps"]
    (slow,) = tasks.commands_of("test", ["--slow", "tests"], tmp_path)
    assert slow[1:] == ["-m", "pytest", *tasks.SIDE_BY_SIDE, "tests"]
    (numerical,) = tasks.commands_of("test", ["--everywhere", "-x"], tmp_path)
    assert numerical[1:] == ["-m", "pytest", *tasks.SIDE_BY_SIDE, "-m", "numerical and not slow", "-x"]
    (faults,) = tasks.commands_of("test", ["--faults"], tmp_path)
    assert faults[-4:] == [*tasks.FAULTS, "--faults"]
    (build,) = tasks.commands_of("build", ["--quiet"], tmp_path)
    assert build[1:4] == ["-m", "pip", "wheel"]
    assert build[-3:] == ["--wheel-dir", str(tmp_path / "dist"), "--quiet"]
    (bench,) = tasks.commands_of("bench", [], tmp_path)
    assert bench[1:] == ["-m", "pytest", "benchmarks"]
    assert [command[2:4] for command in tasks.commands_of("lint", [], tmp_path)] == [
        ["ruff", "check"],
        ["ruff", "format"],
        ["mypy"],
    ]


def test_the_fingerprint_follows_what_makes_an_environment_stale(tasks, workspace):
    before = tasks.fingerprint(workspace, (3, 11, 7))
    assert tasks.fingerprint(workspace, (3, 11, 7)) == before
    assert tasks.fingerprint(workspace, (3, 12, 0)) != before
    (workspace / "README.md").write_text("words")
    assert tasks.fingerprint(workspace, (3, 11, 7)) == before
    seen = {before}
    for path in ("constraints.txt", "pyproject.toml", "packages/zeta/pyproject.toml"):
        (workspace / path).write_text((workspace / path).read_text() + "# more\n")
        seen.add(tasks.fingerprint(workspace, (3, 11, 7)))
    assert len(seen) == 4


@pytest.mark.slow  # makes an environment; CI sets one up before its tests
def test_setup_installs_once_and_again_after_a_change(tasks, workspace):
    first = run_tasks(workspace, "setup")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "installing alpha, zeta" in first.stdout
    assert all(line.startswith("[") for line in first.stdout.splitlines())  # plain lines where no terminal is
    python = workspace / ".venv" / "bin" / "python"
    subprocess.run([python, "-c", "import alpha, zeta"], check=True)

    assert tasks.is_current(workspace)
    assert "installing" not in run_tasks(workspace, "setup").stdout

    write_member(workspace, "alpha", ["zeta==1.0", "no-such-package-anywhere"])
    failed = run_tasks(workspace, "test")
    assert failed.returncode == 1
    assert "no-such-package-anywhere" in failed.stdout
    assert "The registry has no build of that package" in failed.stdout
    assert "test:" not in failed.stdout  # nothing runs in half an environment
    assert not tasks.is_current(workspace)  # a failed setup is not taken for a good one


def test_all_extras_are_installed_when_asked_for(tasks, workspace):
    alpha, zeta = workspace / "packages" / "alpha", workspace / "packages" / "zeta"
    with (alpha / "pyproject.toml").open("a") as file:
        file.write('[project.optional-dependencies]\nheif = ["b>=1"]\nparquet = ["a", "tadp-zeta[b]"]\n')
    assert tasks.editable(workspace, False) == ["-e", f"{alpha}", "-e", f"{zeta}"]
    assert tasks.editable(workspace, True) == ["-e", f"{alpha}", "-e", f"{zeta}", "a", "b>=1"]


def test_an_environment_with_all_extras_keeps_them(tasks, workspace):
    python = tasks.executable(workspace, "python")
    python.parent.mkdir(parents=True)
    python.touch()
    current = tasks.fingerprint(workspace)
    for stamp, found in [(current, (True, False)), (f"{current} all", (True, True)), ("old all", (False, False))]:
        tasks.stamp_file(workspace).write_text(stamp)
        assert (tasks.is_current(workspace), tasks.is_current(workspace, everything=True)) == found
        assert tasks.has_extras(workspace) == stamp.endswith("all")


def test_an_unreachable_registry_is_explained(tasks):
    """pip's own words for it, from a port at which nothing listens; it ends with "No matching distribution"."""
    options = ["--no-cache-dir", "--retries", "1", "--index-url", "http://127.0.0.1:9/simple"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", os.devnull, "einops"]
    result = subprocess.run(command, capture_output=True, text=True, env=without_settings())
    lines = (result.stdout + result.stderr).splitlines()
    assert any("No matching distribution" in line for line in lines)
    assert "registry could not be reached" in tasks.explain(lines)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: ResolutionImpossible: for help visit", "Versions contradict"),
        ("The virtual environment was not created successfully because ensurepip is not available.", "python3-venv"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'",
            "may not be written",
        ),
        ("something nobody has seen", "lines above"),
    ],
)
def test_known_failures_get_a_plain_cause(tasks, line, cause):
    assert cause in tasks.explain(["Collecting torch", line, ""])


def test_a_failing_command_passes_its_exit_code_on(tasks, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "setup", lambda *_, **__: None)
    monkeypatch.setattr(
        tasks, "commands_of", lambda *_: [[sys.executable, "-c", f"raise SystemExit({n})"] for n in (5, 0)]
    )
    assert tasks.main(["lint"]) == 5
    assert "failed with exit code 5" in capsys.readouterr().out


def test_everywhere_runs_all_environments_and_prints_the_time_of_each(tasks, monkeypatch, capsys):
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)  # this test may run in one of the environments itself
    monkeypatch.setattr(tasks, "setup", lambda *_, **__: None)
    fails = "import os; raise SystemExit(3 * (os.environ.get('ATEN_CPU_CAPABILITY') == 'default'))"
    monkeypatch.setattr(tasks, "commands_of", lambda *_: [[sys.executable, "-c", fails]])
    assert tasks.main(["test", "--everywhere"]) == 3
    output = capsys.readouterr().out.splitlines()[-len(tasks.ENVIRONMENTS) :]
    assert [line.partition("=")[0] for line in output] == [next(iter(one)) for one in tasks.ENVIRONMENTS]
    assert [line.endswith(" s  passed") for line in output] == [False, True, True, True, True]
