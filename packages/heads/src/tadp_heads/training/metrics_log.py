"""metrics.jsonl of a run: one line per step with its loss, and one per evaluation."""

import json
from pathlib import Path
from typing import Any

from tadp_heads.atomic_files import append, write_text
from tadp_heads.data.errors import DataError

METRICS_FILE = "metrics.jsonl"


def add_metrics(run: Path, line: dict[str, Any]) -> None:
    """Add a line to the run's file."""
    append(run / METRICS_FILE, json.dumps(line) + "\n")


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, an object with a step each, without a last one that a killed process left torn."""
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True), 1):
        row = _parsed(line)
        if isinstance(row, dict) and type(row.get("step")) is int:
            rows.append(row)
        elif line.endswith("\n"):
            raise DataError(
                path,
                found=f"{line.strip()[:60]!r} in line {number}",
                expected="an object with a step",
                fix="delete the line",
            )
    return rows


def cut_metrics(run: Path, steps: int) -> None:
    """Drop the lines of steps after the state that a run resumes from: they are made again."""
    path = run / METRICS_FILE
    if path.is_file():
        write_text(path, "".join(json.dumps(row) + "\n" for row in read_steps(path) if row["step"] <= steps))


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
