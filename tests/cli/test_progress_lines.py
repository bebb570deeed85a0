"""Progress without a terminal: a line about running work from time to time, and one when it is done."""

import io

from rich.console import Console
from rich.progress import Progress

from tadp_cli.console import progress
from tadp_cli.console.reporter import note


def test_long_work_is_reported_while_it_runs(monkeypatch, capsys):
    """A training under nohup printed nothing for minutes."""
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    bars = progress.Bars(Progress(disable=True))
    for step in range(1, 11):
        bars("train", step, 10)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "train: 10 to do"
    assert lines[1] == "train: 4 of 10, 0.25/s, 24 s left"
    assert lines[-1] == "train: 10 done"
    assert 4 <= len(lines) <= 6


def test_lines_show_the_note_of_their_work(monkeypatch, capsys):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    bars = progress.Bars(Progress(disable=True))
    note(lambda *_: None, "train", "shown nowhere")
    note(bars, "train", "loss 0.5, 8.0 images/s")
    for step in range(1, 4):
        bars("train", step, 30)
    assert capsys.readouterr().out.splitlines()[-1] == ("train: 3 of 30, loss 0.5, 8.0 images/s, 9.0 min left")


def test_the_time_left_of_a_second_training_is_its_own(monkeypatch, capsys):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    bars = progress.Bars(Progress(disable=True))
    for step in (1, 10, 1, 2):
        bars("train", step, 10)
    assert capsys.readouterr().out.splitlines()[-2:] == ["train: 10 to do", "train: 2 of 10, 0.05/s, 2.7 min left"]
    assert bars.progress.tasks[0].finished_time is None


def test_a_terminal_of_80_columns_shows_the_note_on_one_line(monkeypatch):
    shown = Console(file=io.StringIO(), force_terminal=True, width=80)
    monkeypatch.setattr(progress, "console", shown)
    with progress.bars() as bars:
        bars.note("train", "loss 0.5312, lr 1.0e-04, 45.2 images/s, 1.2 GB")
        bars("train", 1234, 20000)
        bars.note("train", "loss 0.4312, lr 1.0e-04, 45.2 images/s, 1.2 GB")
        bars.progress.refresh()
        lines = [segment.text for segment in shown.render(bars.progress.get_renderable())]
    assert "train" in "".join(lines)
    assert "loss 0.4312, lr 1.0e-04, 45.2 images/s, 1.2 GB" in "".join(lines)
    assert "".join(lines).count("\n") == 1


def test_durations_are_in_the_unit_one_thinks_in():
    assert [progress.duration(seconds) for seconds in (0.4, 119, 120, 7199, 7200, 3e5)] == [
        *("0 s", "119 s", "2.0 min", "120.0 min", "2.0 h", "3.5 days"),
    ]
