"""The page of `benchmarks/engines.py`."""

from collections.abc import Mapping
from typing import Any

from page_layout import header, made, table

HEAD = (
    "Cost of Ray's actors next to one process, with the tiny models on Scenes inside a tar archive. A model this small "
    "shows the engines' own cost; with a full-size model, whose images take tenths of a second, it does not matter. "
    "Start-up lasts until the first captions are in the file; images per second and CPU seconds per image are of what "
    "follows. CPU seconds are of the command and all processes that it started."
)
ENGINES = {"local": "one process"}
_COLUMNS = ("engine", "start-up, s", "start-up, CPU s", "images/s", "CPU ms per image", "whole command, s", "CPU s")


def engines(results: Mapping[str, Any]) -> str:
    """The page."""
    blocks = [
        f"{results['images']} images in batches of {results['batch_size']}, on {results['cores']} cores. Other "
        "processes used them too (load averages of "
        f"{_loads(results)}), so CPU seconds can be compared; seconds are rough."
    ]
    for command, rows in results["rows"].items():
        blocks += [f"## `tadp {command}`", table(_COLUMNS, [_row(name, row) for name, row in rows.items()])]
        if "ray-1" in rows and "local" in rows:
            more = rows["ray-1"]["cpu_seconds"] - rows["local"]["cpu_seconds"]
            blocks.append(f"Ray with one actor took {more:.0f} CPU seconds more than one process.")
    return "\n\n".join([header("Engines for many images", "engines", HEAD), *blocks, made(results)]) + "\n"


def _row(name: str, row: Mapping[str, float]) -> list[str]:
    number = name.removeprefix("ray-")
    shown = ENGINES.get(name, f"Ray, {number} actor{'s' * (number != '1')}")
    values = (row["first_seconds"], row["first_cpu_seconds"], row["images_per_second"])
    cells = [*(f"{value:.1f}" for value in values), f"{1000 * row['cpu_seconds_per_image']:.1f}"]
    return [shown, *cells, f"{row['seconds']:.1f}", f"{row['cpu_seconds']:.1f}"]


def _loads(results: Mapping[str, Any]) -> str:
    loads = [row["load"] for rows in results["rows"].values() for row in rows.values()]
    return f"{min(loads):.0f} to {max(loads):.0f}"
