"""Files are read and written as UTF-8 whatever the locale: no text file is opened without its encoding."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def without_encoding(path: Path) -> Iterator[str]:
    """Calls of read_text, write_text and open in text mode that leave the encoding to the locale."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call) or "encoding" in {keyword.arg for keyword in call.keywords}:
            continue
        method = isinstance(call.func, ast.Attribute)
        name = call.func.attr if method else getattr(call.func, "id", "")
        arguments = call.args if method else call.args[1:]
        if (method and (name, len(arguments)) in (("read_text", 0), ("write_text", 1))) or (
            name == "open" and _is_text_mode(arguments)
        ):
            yield f"{path}, line {call.lineno}: {name}"


def _is_text_mode(arguments: list[ast.expr]) -> bool:
    """Of a literal mode; others, such as Image.open(path), are no text files."""
    mode = arguments[0].value if arguments and isinstance(arguments[0], ast.Constant) else None
    return isinstance(mode, str) and mode in ("r", "w", "a", "x", "rt", "wt")


def test_no_text_file_is_opened_in_the_encoding_of_the_locale(repository):
    found = [line for path in sorted((repository / "packages").rglob("*.py")) for line in without_encoding(path)]
    assert found == []


def test_the_rule_finds_what_it_is_for(tmp_path):
    (tmp_path / "a.py").write_text('p.read_text()\np.write_text(x)\nopen(p, "w")\np.open("r")\n', encoding="utf-8")
    assert [line.rsplit(" ", 1)[1] for line in without_encoding(tmp_path / "a.py")] == [
        *("read_text", "write_text", "open", "open")
    ]


def test_a_command_finds_a_file_whose_name_was_written_in_utf8_under_a_locale_that_is_not(tmp_path):
    """Under an ASCII locale a run's data, recorded as a path with an umlaut, was "no folder"."""
    (tmp_path / "b\u00fc").mkdir()
    code = "from tadp_cli.console.utf8 import start_in_utf8; start_in_utf8(); import pathlib, sys; "
    code += "print(pathlib.Path('b\\u00fc').is_dir(), pathlib.Path(sys.argv[1]).is_dir())"
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code, "b\u00fc"]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **locale}, capture_output=True, check=True)
    assert done.stdout.split() == [b"True", b"True"]
