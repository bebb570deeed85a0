"""Stable Diffusion 1.5's size on the CPU: `python benchmarks/cpu.py [--out FOLDER] [--size toy] [--training]`.

Extraction, or with --training a step of all UNet weights and a head, as `tadp train` does it.

Times of a shared machine are not stable, so the cases run in turns and what is reported are medians of ratios to the
reference's way in the same round. Memory above the weights and the difference from float32 explicit attention come from
a process for each case. Prints both and writes them as JSON.
"""

import argparse
import ctypes
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from baselines import PASSES, random_backbone, random_taesd
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from gpu import TRAINING_WAYS, training_step
from gpu_bench import SIZES, Bench, short
from measuring import machine, seconds_of, table_head, table_row, write_json

from tadp_backbone import DiffusionBackbone, Features

SIDE = {"sd15": 64, "toy": 16}
REFERENCE = "explicit float32"
Work = Callable[[], Features]


@dataclass(frozen=True)
class Case:
    """A way to pass an image through the backbone."""

    way: str
    """One of PASSES, or "ours"."""
    dtype: torch.dtype
    optimized: bool = False
    """Whether `DiffusionBackbone.optimize` was called."""
    distilled: bool = False
    """Whether a distilled encoder takes the VAE's place."""


CASES = {
    REFERENCE: Case("explicit", torch.float32),
    "diffusers float32": Case("diffusers", torch.float32),
    "ours float32": Case("ours", torch.float32),
    "ours float32, optimize()": Case("ours", torch.float32, optimized=True),
    "ours bfloat16, optimize()": Case("ours", torch.bfloat16, optimized=True),
    "ours bfloat16, optimize(), taesd": Case("ours", torch.bfloat16, optimized=True, distilled=True),
}


def prepared(case: str, size: str, unets: dict[tuple, UNet2DConditionModel]) -> dict[str, Work]:
    """{"latents": a pass from latents, "pixels": one from pixels}, of the same random weights and inputs each time.

    `unets`: those of earlier cases, shared by all that have the same type: six of them take more than 24 GiB.
    """
    asked = CASES[case]
    torch.manual_seed(0)
    backbone: DiffusionBackbone = random_backbone(size).freeze()
    backbone.unet = unets.setdefault((asked.dtype, asked.optimized), backbone.unet)
    if asked.distilled:
        backbone.use_vae(random_taesd(size))
    side = SIDE[size]
    latents, context = torch.randn(1, 4, side, side), torch.randn(1, 77, backbone.unet.config.cross_attention_dim)
    images = torch.rand(1, 3, 8 * side, 8 * side) * 2 - 1
    if asked.way != "ours":
        backbone.run_unet = partial(PASSES[asked.way], backbone)
    elif asked.optimized:
        backbone.optimize(dtype=asked.dtype)
    if asked.way == "explicit":
        backbone.vae.set_attn_processor(AttnProcessor())
    return {"latents": partial(backbone.extract, latents, context), "pixels": partial(backbone, images, context)}


def interleaved(size: str, rounds: int) -> dict[str, dict[str, float]]:
    """{case: {"latents" and "pixels": median of the ratios to the reference's way in the same round}}."""
    unets: dict[tuple, UNet2DConditionModel] = {}
    works = {case: prepared(case, size, unets) for case in CASES}
    seconds = {(case, source): [] for case in CASES for source in works[case]}
    for turn in range(rounds + 1):
        for (case, source), times in seconds.items():
            start = time.perf_counter()
            works[case][source]()
            if turn:  # the first round warms up
                times.append(time.perf_counter() - start)
    reference = {source: seconds[REFERENCE, source] for source in works[REFERENCE]}
    return {
        case: {
            f"{source} ratio": statistics.median(a / b for a, b in zip(seconds[case, source], times, strict=True))
            for source, times in reference.items()
        }
        for case in CASES
    }


def training_ratios(size: str, rounds: int) -> Iterator[dict[str, object]]:
    """Of each way to train and batch size the median of the ratios to the reference's way in the same round."""
    bench = Bench(device=torch.device("cpu"), size=SIZES[size], deadline=math.inf, ceiling=1.0)
    ways = [way for way in TRAINING_WAYS if way.base == "explicit" or not way.optimized]
    ways = [way for way in ways if way.dtype != torch.float16]  # CPUs compute in it seldom
    for batch in SIZES["sd15"].training_batches:
        steps = [training_step(way, bench, batch) for way in ways]
        seconds = [[seconds_of(step, bench.device) for step in steps] for _ in range(rounds + 1)][1:]
        for way, times in zip(ways, zip(*seconds, strict=True), strict=True):
            ratio = statistics.median(a / b[0] for a, b in zip(times, seconds, strict=True))
            yield {"way": way.name, "dtype": short(way.dtype), "batch": batch, "ratio": ratio}


def memory_and_features(case: str, size: str, folder: Path) -> dict[str, float]:
    """GiB above the weights; the features stay in `folder` for the comparison."""
    works = prepared(case, size, {})
    found = {}
    for source, work in works.items():
        features, gib = with_peak(work)
        found[f"{source} GiB"] = gib
        torch.save([level.float() for level in features.levels], folder / f"{case} {source}.pt")
    return found


def with_peak(work: Work) -> tuple[Features, float]:
    """(what it returned, GiB at most above what was resident before)."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed memory that is still resident would be used again, and not counted
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = resident_gib("VmRSS")
    return work(), resident_gib("VmHWM") - before


def resident_gib(field: str) -> float:
    """VmRSS (now) or VmHWM (most so far) of this process."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) / 2**20


def difference(folder: Path, case: str) -> dict[str, float]:
    """Largest relative difference of the features from latents, by norm, from the explicit float32 pass."""
    got, expected = (torch.load(folder / f"{name} latents.pt", weights_only=True) for name in (case, REFERENCE))
    return {"difference": max(float((x - y).norm() / y.norm()) for x, y in zip(got, expected, strict=True))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIDE, default="sd15")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/cpu"))
    parser.add_argument("--training", action="store_true", help="training steps in place of extraction")
    parser.add_argument("--case", choices=CASES, help="memory and features of this one alone, in this process")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = {"size": arguments.size, **machine(torch.device("cpu"))}
    if arguments.training:
        trained = list(training_ratios(arguments.size, arguments.rounds))
        print("\n".join((table_head(trained[0]), *map(table_row, trained))))
        write_json(arguments.out / "training.json", {"machine": found, "rows": trained})
        return
    with torch.no_grad():
        extraction(arguments, found)


def extraction(arguments: argparse.Namespace, found: dict[str, object]) -> None:
    """Print and write the table; `found`: the machine."""
    if arguments.case:
        print(json.dumps(memory_and_features(arguments.case, arguments.size, arguments.out)))
        return
    rows = {}
    for case in CASES:
        command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
        rows[case] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        if not CASES[case].distilled:  # two encoders of random weights have nothing in common
            rows[case] |= difference(arguments.out, case)
    for case, ratios in interleaved(arguments.size, arguments.rounds).items():
        rows[case] |= ratios
        print(f"{case:32}", "  ".join(f"{name} {value:.3g}" for name, value in rows[case].items()), flush=True)
    write_json(arguments.out / "cpu.json", {"machine": found, "rows": rows})


if __name__ == "__main__":
    main()
