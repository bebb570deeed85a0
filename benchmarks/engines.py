"""Captioning and prediction by one process and by Ray's actors: the numbers of docs/results/engines.md.

    python benchmarks/engines.py [--images 128] [--actors 1 2] [--out runs/engines]

Needs `tadp-cli[ray]`. The tiny models on Scenes inside a tar archive: what is measured is the cost of the engines, not
of a model worth using. `python3 tasks.py results` writes the page.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import torch
from measuring import machine, write_json

from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.progress import bars
from tadp_cli.pipelines.train_and_evaluate import ensure_experiment
from tadp_heads.data.scenes.write import write_scenes

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "engines.json"
TADP = [sys.executable, "-c", "from tadp_cli.main import app; app()"]
SEED = 130
BATCH = 4
_TICKS = os.sysconf("SC_CLK_TCK")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python benchmarks/engines.py", description=__doc__)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--actors", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--commands", nargs="+", default=["caption", "predict"], choices=["caption", "predict"])
    parser.add_argument("--out", type=Path, default=Path("runs/engines"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    archive, run = packed_scenes(options.out, options.images), small_run(options.out)
    given = {
        "caption": ["caption", archive, "--captioner", "tiny", "--device", "cpu"],
        "predict": ["predict", run, archive, "--caption", "a star", "--device", "cpu"],
    }
    rows: dict[str, dict[str, Any]] = {}
    for name in options.commands:
        for engine, more in {
            "local": [],
            **{f"ray-{n}": ["--engine", "ray", "--actors", n] for n in options.actors},
        }.items():
            out = options.out / f"{name}-{engine}-{time.time_ns()}"
            target = out / "captions.jsonl"
            command = [*given[name], *more, "--batch-size", BATCH, "--out", target if name == "caption" else out]
            out.mkdir(parents=True)
            rows.setdefault(name, {})[engine] = measured([*TADP, *map(str, command)], target, options.images)
            write_json(options.results, results_of(options, rows))
    return 0


def results_of(options: argparse.Namespace, rows: dict[str, Any]) -> dict[str, Any]:
    actors = " ".join(map(str, options.actors))
    return {
        "command": f"python benchmarks/engines.py --images {options.images} --actors {actors}",
        "machine": machine(torch.device("cpu")),
        "cores": os.cpu_count(),
        "images": options.images,
        "batch_size": BATCH,
        "rows": rows,
    }


def measured(command: list[str], written: Path, images: int) -> dict[str, float]:
    """Seconds and CPU seconds of the command and all its processes: in all, and from the first images to the last."""
    start, seen = time.perf_counter(), dict[int, float]()
    marks: list[tuple[float, float, int]] = []  # seconds, CPU seconds, images
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        seen |= cpu_seconds_below(process.pid)
        count = written.read_text().count("\n") if written.is_file() else 0
        if count > (marks[-1][2] if marks else 0):
            marks.append((time.perf_counter() - start, sum(seen.values()), count))
        time.sleep(0.1)
    if process.returncode != 0 or not marks or marks[-1][2] != images:
        raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}, {marks[-1:]}")
    first, last = marks[0], marks[-1]
    count = last[2] - first[2]
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": sum(seen.values()),
        "first_seconds": first[0],
        "first_cpu_seconds": first[1],
        "images_per_second": count / (last[0] - first[0]),
        "cpu_seconds_per_image": (last[1] - first[1]) / count,
        "load": os.getloadavg()[0],
    }


def cpu_seconds_below(pid: int) -> dict[int, float]:
    """{process id: its CPU seconds so far} of a process and of all that it started."""
    parents, used = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(folder.name)] = int(fields[1])
        used[int(folder.name)] = (int(fields[11]) + int(fields[12])) / _TICKS

    def below(one: int) -> bool:
        return one == pid or (one in parents and below(parents[one]))

    return {one: seconds for one, seconds in used.items() if below(one)}


def packed_scenes(out: Path, count: int) -> Path:
    """Scenes inside a tar archive, in webdataset's layout."""
    archive = out / f"scenes-{count}.tar"
    if not archive.is_file():
        folder = out / "data" / str(count)
        write_scenes(folder, task="segmentation", domain="photo", split="test", count=count, seed=SEED)
        partial = archive.with_suffix(".part")
        with tarfile.open(partial, "w") as shard:
            for file in sorted((folder / "images").rglob("*.*")):
                shard.add(file, file.name)
        partial.rename(archive)
    return archive


def small_run(out: Path) -> Path:
    """A run of a few steps: how well it predicts does not matter."""
    data = out / "data" / "train"
    write_scenes(data, task="segmentation", domain="photo", split="train", count=4, seed=SEED)
    changes = {"data.folder": str(data), "data.val": "train", "train.steps": 1, "train.batch_size": 1}
    changes |= {"data.captions": str(data / "captions_true_train.jsonl")}
    with bars() as report:
        ensure_experiment(load_recipe("scenes-segmentation").replace(**changes), out / "run", report=report)
    return out / "run"


if __name__ == "__main__":
    sys.exit(main())
