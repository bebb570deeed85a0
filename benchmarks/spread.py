"""Memory of each process where two train together, with replicated (DDP) or sharded (FSDP) parameters.

    python benchmarks/spread.py [--channels 256 512 512]

Two steps of `tadp train scenes-segmentation` on the CPU with a UNet of random weights, as wide as asked for, that all
trains. The peak is the process's own; the first process puts the state together to write it.
"""

import argparse
import atexit
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

from tadp_backbone import DiffusionBackbone
from tadp_heads.data.scenes.write import write_scenes

LAUNCH = ("--multi_gpu", "--num_processes=2", "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no")
SETTINGS = ("prompt.kind=empty", "train.unet_lr_scale=0.1", "train.batch_size=1", "train.accumulate=2", "train.steps=2")


def wide_backbone(channels: Sequence[int], folder: Path) -> int:
    """Write the tiny backbone with a wider UNet; returns how many parameters that has."""
    torch.manual_seed(0)
    backbone = DiffusionBackbone.from_pretrained("tiny")
    config = {**backbone.unet.config, "block_out_channels": list(channels), "layers_per_block": 2}
    backbone.unet = UNet2DConditionModel.from_config(config)
    backbone.save_pretrained(folder)
    return sum(p.numel() for p in backbone.unet.parameters())


def peaks(folder: Path, shard: bool) -> list[float]:
    """GiB of each process of one run."""
    settings = (*SETTINGS, f"backbone.source={folder / 'backbone'}", f"train.shard={str(shard).lower()}")
    train = ["train", "scenes-segmentation", "--data", str(folder / "data"), "--device", "cpu"]
    train += ["--out", str(folder / f"run-{shard}"), *(part for setting in settings for part in ("--set", setting))]
    launch = [sys.executable, "-m", "accelerate.commands.launch", *LAUNCH, "--main_process_port=0", "--no_python"]
    result = subprocess.run([*launch, sys.executable, __file__, "--run", *train], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"the run failed:\n{result.stdout}\n{result.stderr}")
    found = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("peak ")]
    return sorted(map(float, found), reverse=True)


def run_and_tell(arguments: Sequence[str]) -> None:
    """One process's part: the command, and at its end what it took."""
    from tadp_cli.main import app

    atexit.register(lambda: print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}", flush=True))
    app(list(arguments))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", type=int, nargs=3, default=(256, 512, 512), help="of the UNet's blocks")
    channels = parser.parse_args(arguments).channels
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split, count in (("train", 8), ("val", 2)):
            write_scenes(folder / "data", task="segmentation", domain="photo", split=split, count=count, seed=0)
        print(f"{wide_backbone(channels, folder / 'backbone') / 1e6:.0f} million parameters\n")
        print("| | GiB, one process | the other |\n|---|---:|---:|")
        for title, shard in (("each has all", False), ("spread", True)):
            print(f"| {title} | {' | '.join(f'{peak:.2f}' for peak in peaks(folder, shard))} |", flush=True)


if __name__ == "__main__":
    run_and_tell(sys.argv[2:]) if sys.argv[1:2] == ["--run"] else main()
