"""`tadp --help` answers at once: nothing heavy is imported for it."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "transformers", "diffusers", "numpy", "matplotlib", "PIL", "nltk", "openai"}

REPORT = f"print('heavy:', sorted({HEAVY!r} & sys.modules.keys()))"


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_importing_the_command_imports_nothing_heavy():
    result = run_python(f"import sys, tadp_cli.main\n{REPORT}")
    assert result.stdout.endswith("heavy: []\n"), result.stdout + result.stderr


def test_help_imports_nothing_heavy():
    """Through the installed entry point, as the shell does."""
    result = run_python(
        "import atexit, sys\n"
        "from importlib.metadata import entry_points\n"
        f"atexit.register(lambda: {REPORT})\n"
        "sys.argv = ['tadp', '--help']\n"
        "(entry,) = entry_points(group='console_scripts', name='tadp')\n"
        "sys.exit(entry.load()())\n"
    )
    assert result.returncode == 0, result.stderr
    assert "Usage" in result.stdout
    assert result.stdout.endswith("heavy: []\n"), result.stdout


@pytest.mark.parametrize("command", [("data", "list"), ("recipes", "scenes")])
def test_commands_that_print_a_table_import_nothing_heavy(command):
    """`tadp data list` took six seconds of imports."""
    result = run_python(
        "import atexit, sys\n"
        "from tadp_cli.main import main\n"
        f"atexit.register(lambda: {REPORT})\n"
        f"sys.argv = ['tadp', *{command!r}]\n"
        "main()\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("heavy: []\n"), result.stdout


def test_the_check_sees_a_heavy_import():
    assert "numpy" in run_python(f"import sys, numpy\n{REPORT}").stdout
