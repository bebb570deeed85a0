"""Progress without a terminal: a line about running work from time to time, and one when it is done."""

from rich.progress import Progress

from tadp_cli.console import progress


def test_long_work_is_reported_while_it_runs(monkeypatch, capsys):
    """A training under nohup printed nothing for minutes."""
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    bars = progress.Bars(Progress(disable=True))
    for step in range(1, 11):
        bars("train", step, 10)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train: 3 of 10, 0.25/s, 28 s left"
    assert lines[-1] == "train: 10 done"
    assert 3 <= len(lines) <= 5
