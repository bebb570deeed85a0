"""Progress bars of the commands."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tadp_cli.console.launchers import first_process
from tadp_cli.console.terminal import SafeConsole

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

console = SafeConsole()


_LINE_SECONDS = 10.0
"""Without a terminal, a line about running work after this time."""


class Bars:
    """One bar per kind of work, made when the work is first reported; without a terminal lines in its place."""

    def __init__(self, progress: "Progress"):
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}
        self.begun: dict[str, tuple[float, int]] = {}
        """{work: (when it was first reported, what was done by then)}"""
        self.notes: dict[str, str] = {}
        """{work: what is to be shown with it}"""
        self.last_line = time.monotonic()

    def note(self, what: str, text: str) -> None:
        """Show `text` with the work from now on."""
        self.notes[what] = text
        if what in self.tasks:
            self.progress.update(self.tasks[what], note=text)

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(what, total=total, note=self.notes.get(what, ""))
        elif done < self.progress.tasks[self.tasks[what]].completed:  # the next training of several: a time of its own
            self.progress.reset(self.tasks[what])
            self.begun.pop(what, None)
        self.progress.update(self.tasks[what], completed=done, total=total)
        if not console.is_terminal and first_process():
            self._print_line(what, done, total)

    def _print_line(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        is_new = what not in self.begun
        begun, before = self.begun.setdefault(what, (now, done))
        if done == total:
            console.print(f"{what}: {total} done", highlight=False)
        elif is_new:
            console.print(f"{what}: {total} to do", highlight=False)
        elif now - self.last_line >= _LINE_SECONDS and done > before:
            rate = (done - before) / max(now - begun, 1e-9)
            shown = self.notes.get(what) or f"{rate:.3g}/s"
            line = f"{what}: {done} of {total}, {shown}, {duration((total - done) / rate)} left"
            console.print(line, highlight=False, soft_wrap=True)
        else:
            return
        self.last_line = now


def duration(seconds: float) -> str:
    """In the largest unit of which there are at least two."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


@contextmanager
def bars() -> Iterator[Bars]:
    """Yields a reporter `(what, done, total)`: bars with the time left on a terminal, else a line for what is done."""
    # Not for `tadp --help`, which it would make slower by a sixth.
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, disable=not (console.is_terminal and first_process())) as progress:
        yield Bars(progress)


@contextmanager
def notes() -> Iterator[None]:
    """Inside, what the pipelines and the training note goes to the console, by the first process alone."""
    if not first_process():
        yield
        return
    handler, logs = _ConsoleHandler(), [logging.getLogger(name) for name in ("tadp_cli", "tadp_heads.training")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.INFO)
        log.addHandler(handler)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.removeHandler(handler)
            log.setLevel(level)


class _ConsoleHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        console.print(self.format(record), markup=False, highlight=False, soft_wrap=True)
