"""How long something takes, what it needs, and on which machine that was; shared by `cpu.py` and `gpu.py`."""

import gc
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

WARM_UPS = {"cuda": 3, "cpu": 1}
"""Runs before the first measured one: compilation, capture and the choice of algorithms happen there."""

ENOUGH_SECONDS = 3.0
"""No further round begins after that time."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one run takes."""

    seconds: float
    """Median over the rounds."""

    gib: float | None
    """Most device memory above what was in use before the first run; None on the CPU, whose peaks `cpu.py` reads."""


def cost(work: Callable[[], object], device: torch.device, rounds: int) -> Cost:
    """Of `work` as one would call it, with the time that Python needs to start the GPU's kernels."""
    cuda = device.type == "cuda"
    if cuda:
        gc.collect()  # models that were measured before refer to themselves in circles
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(WARM_UPS[device.type]):
        work()
    times = []
    while len(times) < rounds and sum(times) < ENOUGH_SECONDS:
        times.append(seconds_of(work, device))
    return Cost(
        seconds=statistics.median(times),
        gib=(torch.cuda.max_memory_allocated(device) - before) / 2**30 if cuda else None,
    )


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """One run from an idle device to the end of its work."""
    if device.type == "cpu":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    torch.cuda.synchronize(device)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def kernel_seconds(work: Callable[[], object], device: torch.device) -> float:
    """One run without the time to start its kernels: on a GPU many runs are replayed as one CUDA graph."""
    if device.type == "cpu":
        return cost(work, device, rounds=3).seconds
    from triton.testing import do_bench_cudagraph

    return do_bench_cudagraph(work, return_mode="median") / 1e3


def matrix_product_tflops(device: torch.device, side: int, dtype: torch.dtype) -> float:
    """Achieved by torch's product of two square matrices of `side`: what the device can do at best."""
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / cost(lambda: left @ right, device, rounds=20).seconds / 1e12


def machine(device: torch.device) -> dict[str, object]:
    """The device's name, versions and the state of the code."""
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name(device) if cuda else _processor()
    versions = {package: version(package) for package in ("torch", "triton", "diffusers")}
    versions |= {
        "python": platform.python_version(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
    state = {"threads": torch.get_num_threads(), "load": os.getloadavg()[0], "commit": _commit()}
    return {"device": name, **versions, **state, "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}


def write_json(file: Path, content: object) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".tmp")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial, file)


def table_row(cells: dict[str, object]) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(_shown(cell) for cell in cells.values()) + " |"


def table_head(cells: dict[str, object]) -> str:
    """The head of the table of rows like this one."""
    return f"| {' | '.join(cells)} |\n|{'---|' * len(cells)}"


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:.3g}" if cell < 100 else f"{cell:.0f}"
    return "" if cell is None else str(cell)


def _processor() -> str:
    """The processor's name as Linux knows it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.split(": ")[1] for x in lines if x.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """The checkout's commit, with a "+" where files differ from it; None outside of a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True).stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    return f"{commit}+" if commit and git("status", "--porcelain", "--untracked-files=no") else commit or None
