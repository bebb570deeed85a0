"""Extraction at Stable Diffusion 1.5's size on the CPU: `python benchmarks/cpu.py [--out FILE] [--size toy]`.

Whole extraction from pixels is the UNet's pass and the VAE's encoder. Prints seconds, memory above the weights and the
difference from float32 explicit attention, and writes them as JSON.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from baselines import PASSES, random_backbone
from measuring import machine, write_json

SIDE = {"sd15": 64, "toy": 16}
CASES = {
    "explicit float32": ("explicit", torch.float32),
    "diffusers float32": ("diffusers", torch.float32),
    "ours float32": ("ours", torch.float32),
    "ours bfloat16 channels_last": ("ours", torch.bfloat16),
}


def resident_gib(field: str) -> float:
    """VmRSS (now) or VmHWM (most so far) of this process."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) / 2**20


def measure(case: str, size: str, repeats: int, folder: Path) -> dict[str, float]:
    """One case in this process, so that the peak is its own; results stay in `folder` for the comparison."""
    way, dtype = CASES[case]
    torch.manual_seed(0)
    backbone = random_backbone(size).freeze()
    side = SIDE[size]
    latents, context = torch.randn(1, 4, side, side), torch.randn(1, 77, backbone.unet.config.cross_attention_dim)
    images = torch.rand(1, 3, 8 * side, 8 * side) * 2 - 1
    if way == "ours":
        backbone.optimize(dtype=dtype, channels_last=dtype == torch.bfloat16)
    inputs = (latents.to(dtype), torch.tensor([1]), context.to(dtype))
    images = images.to(dtype)
    with torch.no_grad():
        (outputs, maps), seconds, gib = timed(lambda: PASSES[way](backbone, *inputs), repeats)
        _, vae_seconds, vae_gib = timed(lambda: backbone.encode_image(images), repeats)
    layers = [path for paths in backbone.map_layers.values() for path in paths]
    kept = {"features": {k: x.float() for k, x in outputs.items()}, "maps": {k: maps[k].float() for k in layers}}
    torch.save(kept, folder / f"{case}.pt")
    whole = {"pixels_seconds": seconds + vae_seconds, "pixels_gib_above_weights": max(gib, vae_gib)}
    return {"seconds": seconds, "gib_above_weights": gib, **whole}


def timed(work: Callable[[], object], repeats: int) -> tuple[object, float, float]:
    """(what it returned, seconds of the fastest run, GiB at most above what was resident before)."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed memory that is still resident would be used again, and not counted
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, times, result = resident_gib("VmRSS"), [], None
    for _ in range(repeats):
        result = None  # the run before's results are no part of this one's peak
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return result, min(times), resident_gib("VmHWM") - before


def difference(folder: Path, case: str) -> dict[str, float]:
    """Largest relative difference, by norm, from the explicit float32 pass."""
    got, expected = (torch.load(folder / f"{name}.pt", weights_only=True) for name in (case, "explicit float32"))
    return {
        f"{kind}_difference": max(float((got[kind][k] - x).norm() / x.norm()) for k, x in expected[kind].items())
        for kind in ("features", "maps")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIDE, default="sd15")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/cpu"))
    parser.add_argument("--case", choices=CASES, help="run this one alone, in this process")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.case:
        print(json.dumps(measure(arguments.case, arguments.size, arguments.repeats, arguments.out)))
        return
    rows = {}
    for case in CASES:
        command = [sys.executable, __file__, *sys.argv[1:], "--case", case]
        rows[case] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        rows[case] |= difference(arguments.out, case)
        print(f"{case:30}", "  ".join(f"{name} {value:.3g}" for name, value in rows[case].items()), flush=True)
    found = {"size": arguments.size, **machine(torch.device("cpu"))}
    write_json(arguments.out / "cpu.json", {"machine": found, "rows": rows})


if __name__ == "__main__":
    main()
