"""The page of a running training: one file with the curves so far, which a browser loads again until it has ended."""

import time
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tadp_heads.atomic_files import write_text
from tadp_heads.training.metrics_log import METRICS_FILE, read_steps
from tadp_heads.training.tracking.curve import curve

PAGE_FILE = "training.html"
_EVERY = 10.0
"""Seconds between two writes, and between two loads of the page."""
_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:50rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}"
    "figure{margin:1.5rem 0}figcaption{font-weight:600}svg{width:100%;height:auto;display:block}"
    "text{font-size:12px;fill:currentColor}.grid{stroke:currentColor;opacity:.25}"
    ".line{fill:none;stroke:#0072b2;stroke-width:2}"
    "@media (prefers-color-scheme:dark){.line{stroke:#56b4e9}}"
    "@media (max-width:500px){text{font-size:18px}}"
)


class TrainingPage:
    """training.html of a run: inside of it, `step` brings the page up to date; it says how the training ended."""

    def __init__(self, run: Path, title: str, steps: int):
        """`steps`: of the whole training."""
        self.run, self.title, self.steps = run, title, steps
        self.written = -_EVERY

    @property
    def path(self) -> Path:
        """The page."""
        return self.run / PAGE_FILE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.run.is_dir():
            how = "Finished" if error is None else f"Stopped: {str(error) or type(error).__name__}"
            write_text(self.path, self._html(how, running=False))

    def step(self) -> None:
        """Write the page, unless it was written a moment ago."""
        now = time.monotonic()
        if now - self.written >= _EVERY:
            self.written = now
            write_text(self.path, self._html("Training", running=True))

    def _html(self, state: str, *, running: bool) -> str:
        rows = read_steps(self.run / METRICS_FILE)
        at = max((row["step"] for row in rows), default=0)
        # Of an ended training the page says the same whether it was stopped in between or not.
        when = datetime.now(UTC).strftime(", written %Y-%m-%d %H:%M:%S UTC") if running else ""
        reload = f'<meta http-equiv="refresh" content="{_EVERY:.0f}">' if running else ""
        curves = "".join(curve(name, points, self.steps) for name, points in _points(rows).items())
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
            f'img-src data:"><link rel="icon" href="data:,">{reload}<title>{escape(self.title)}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{escape(self.title)}</h1>"
            f"<p>{escape(state)}: step {at} of {self.steps}{when}.</p>{curves}</body></html>\n"
        )


def _points(rows: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """{name of a curve: (step, value)}: what was logged of steps, then the validation metrics."""
    found: dict[str, list[tuple[int, float]]] = {"loss": []}
    for row in rows:
        values = {"loss": row.get("loss"), "learning rate": row.get("lr")}
        values |= {f"validation {name}": value for name, value in row.get("val", {}).items()}
        for name, value in values.items():
            if isinstance(value, int | float):
                found.setdefault(name, []).append((row["step"], value))
    return {name: points for name, points in found.items() if points}
