"""The README's example runs as it stands."""

import re


def test_the_example_runs(repository, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (repository / "packages" / "cli" / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    exec(compile(code, "README.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out.split()[-1]) <= 1
