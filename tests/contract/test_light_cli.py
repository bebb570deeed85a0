"""`tadp --help` answers at once: nothing heavy is imported for it."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "transformers", "diffusers", "numpy", "matplotlib", "PIL", "nltk", "openai"}

MAIN = "from tadp_cli.main import main\n"
REPORT = f"print('heavy:', sorted({HEAVY!r} & sys.modules.keys()))"


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


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
        f"import atexit, sys\n{MAIN}atexit.register(lambda: {REPORT})\nsys.argv = ['tadp', *{command!r}]\nmain()\n"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("heavy: []\n"), result.stdout


def test_the_list_of_commands_imports_none_and_says_what_each_says_of_itself():
    result = run_python(
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from tadp_cli.main import app\n"
        "from typer.main import get_command\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "found = sorted(name for name in sys.modules if name.startswith('tadp_cli.commands'))\n"
        "assert found == [], found\n"
        "group = get_command(app)\n"
        "for name, command in group.commands.items():\n"
        "    first = ' '.join(command.help.split('\\n\\n')[0].split())\n"
        "    assert command.name == name and group.get_command(None, name).help == first, (name, first)\n"
        "assert len(group.commands) > 20\n"
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("words", "expected"), [("tadp exp", ["explain", "export"]), ("tadp eval --prec", ["--precision"])]
)
def test_the_shell_completes_commands_and_options(words, expected):
    how = {"_TADP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    result = run_python(f"import os, sys\nos.environ.update({how!r})\nsys.argv = ['tadp']\n{MAIN}main()")
    assert result.stdout.split() == expected, result.stderr
