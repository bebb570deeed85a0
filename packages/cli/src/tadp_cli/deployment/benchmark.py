"""What a run's model takes per image on this machine."""

# H W image pixels

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch

from tadp_cli.console.reporter import Report
from tadp_cli.pipelines.loading import loaded_model
from tadp_cli.precision import Speed
from tadp_heads import PerceptionModel
from tadp_heads.export import milliseconds
from tadp_heads.precision import in_float32

_MEGA = 1_000_000
_CAPTION = "a photo of a street"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one pass of the whole model: VAE, UNet, head."""

    height: int
    width: int
    precision: str
    batch_size: int
    milliseconds: float
    """Per image, median."""
    memory_mb: float | None
    """Peak: of the device's memory on a GPU, of the process on a CPU; None where the system does not report it."""


@in_float32()
def benchmark_run(
    run: Path,
    sizes: Sequence[tuple[int, int]],
    precisions: Sequence[str],
    batch_sizes: Sequence[int],
    *,
    device: str,
    report: Report,
) -> dict[str, Any]:
    """{"run", "device", "torch", "costs": a dictionary for each precision, size (H, W) and batch size}."""
    if min(batch_sizes) < 1:
        raise ValueError(f"--batch-size is {min(batch_sizes)}, expected at least 1")
    costs: list[Cost] = []
    total = len(precisions) * len(sizes) * len(batch_sizes)
    for precision in precisions:
        model = loaded_model(run, Speed(precision=precision), device)
        for size, count in product(sizes, batch_sizes):
            costs.append(_cost(model, size, count, precision))
            report("benchmark", len(costs), total)
    found = {"run": str(run), "device": _device_name(device), "torch": torch.__version__}
    return {**found, "costs": [asdict(cost) for cost in costs]}


@torch.no_grad()
def _cost(model: PerceptionModel, size: tuple[int, int], count: int, precision: str) -> Cost:
    images = torch.rand(count, 3, *size, device=model.device) * 2 - 1
    context = model.encode_captions([_CAPTION] * count)

    def run() -> None:
        for value in model(images, context):
            value.cpu()  # waits for a GPU

    with _peak_memory(model.device) as peak:
        per_batch = milliseconds(run)
    memory = peak()
    return Cost(
        height=size[0],
        width=size[1],
        precision=precision,
        batch_size=count,
        milliseconds=per_batch / count,
        memory_mb=None if memory is None else memory / _MEGA,
    )


@contextmanager
def _peak_memory(device: torch.device) -> Iterator[Callable[[], int | None]]:
    """Yields what gives the bytes that were taken at most since."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        yield lambda: torch.cuda.max_memory_allocated(device)
        return
    reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    try:
        reset.write_text("5", encoding="ascii")  # the peak starts again at what is taken now (proc_pid_clear_refs(5))
    except OSError:
        yield lambda: None
        return
    yield lambda: _resident_peak(status.read_text(encoding="utf-8"))


def _resident_peak(status: str) -> int:
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device}: {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
