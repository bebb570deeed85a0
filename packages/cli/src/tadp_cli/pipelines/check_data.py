"""The files of a data set's check: contact sheets, and the reports as JSON."""

from collections.abc import Sequence
from pathlib import Path

from tadp_heads.atomic_files import replacing, write_json
from tadp_heads.data.check.dataset import CheckReport, sample_sheet


def check_and_draw(reports: Sequence[CheckReport], out: Path) -> list[Path | None]:
    """Writes report.json and a PNG for each report that has a readable image; returns the PNGs' paths."""
    sheets: list[Path | None] = []
    for number, report in enumerate(reports, start=1):
        sheet = None if report.dataset is None else sample_sheet(report.dataset)
        suffix = f"_{number}" if len(reports) > 1 else ""
        if sheet is None:
            sheets.append(None)
            continue
        path = out / f"{report.task}{suffix}.png"
        with replacing(path) as partial:
            sheet.save(partial, format="PNG")
        sheets.append(path)
    write_json(out / "report.json", [_as_json(report) for report in reports])
    return sheets


def _as_json(report: CheckReport) -> dict:
    return {
        "root": str(report.root),
        "task": report.task,
        "layout": report.layout,
        "images": report.images,
        "sizes": {f"{width}x{height}": count for (width, height), count in report.sizes.items()},
        "histogram": report.histogram,
        "depth_range_m": report.depth_range_m,
        "problems": report.problems,
        "warnings": report.warnings,
    }
