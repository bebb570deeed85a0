"""Exported models next to the model itself: largest difference and milliseconds per image.

    python benchmarks/export.py                                      # the tiny backbone, each task, ONNX and pt2
    python benchmarks/export.py --backbone sd15 --size 512 --tasks segmentation --formats onnx
    python benchmarks/export.py --backbone sd15 --size 512 --tasks segmentation --formats onnx --width 0.2

Heads have fresh weights; sd15 has random ones too, in its own size, so that nothing is fetched. That takes 14 GB of
memory and half an hour; --width 0.2 exports the same graph with a fifth of the channels of UNet and VAE.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tadp_backbone import BACKBONES, DiffusionBackbone, register_backbone
from tadp_backbone.summary import untrained
from tadp_heads import PerceptionConfig, PerceptionModel, get_task
from tadp_heads.export import FORMATS, ExportSettings, export, timing

CLASSES = ("background", "circle", "square", "star")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="tiny", help="tiny, or sd15 and sd21 with random weights")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels")
    parser.add_argument("--tasks", nargs="+", default=["segmentation", "depth", "detection"])
    parser.add_argument("--formats", nargs="+", default=list(FORMATS))
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--width", type=float, default=1.0, help="of sd15's and sd21's channels, in (0, 1]")
    help_text = "milliseconds of the processor in place of the clock's, where others use the machine too"
    parser.add_argument("--cpu-time", action="store_true", help=help_text)
    options = parser.parse_args()
    if options.cpu_time:
        timing.clock = time.process_time
    name = options.backbone if options.width == 1 else narrowed(options.backbone, options.width)
    print("task          format  largest difference                  model ms  exported ms  file MB  export s")
    for task in options.tasks:
        model = model_of(name, task)
        for kind in options.formats:
            settings = ExportSettings(format=kind, size=(options.size, options.size), precision=options.precision)
            print(f"{task:13} {kind:7} {measured(model, settings)}", flush=True)


def narrowed(name: str, width: float) -> str:
    """The name of a backbone of the table with fewer channels, in multiples of 32 as its normalisation wants them."""

    def fewer(settings: Mapping[str, Any]) -> dict[str, Any]:
        channels = tuple(32 * math.ceil(count * width / 32) for count in settings["block_out_channels"])
        return {**settings, "block_out_channels": channels}

    entry = BACKBONES[name]
    register_backbone(f"{name}-narrow", replace(entry, unet=fewer(entry.unet), vae=fewer(entry.vae)))
    return f"{name}-narrow"


def model_of(name: str, task: str) -> PerceptionModel:
    """With the empty prompt, in eval mode."""
    torch.manual_seed(0)
    has_weights = BACKBONES[name].folder is not None
    backbone = DiffusionBackbone.from_pretrained(name) if has_weights else untrained(name, device="cpu")
    classes = () if task == "depth" else CLASSES
    head = get_task(task).build_head(backbone.levels, classes)
    if task == "depth":  # its first weights are so small that it predicts one depth everywhere, whatever the graph is
        for module in head.modules():
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                torch.nn.init.kaiming_normal_(module.weight)
    context = None if has_weights else torch.randn(1, 77, backbone.unet.config.cross_attention_dim)
    return PerceptionModel(backbone, head, PerceptionConfig(task=task, classes=classes, prompt=""), context).eval()


def measured(model: PerceptionModel, settings: ExportSettings) -> str:
    """The rest of a row."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        done = export(model, Path(folder) / f"model.{settings.format}", settings)
        seconds = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
    worst = ", ".join(f"{found.name} {found.value:.1e}" for found in done.differences)
    times = done.milliseconds
    return f"{worst:35} {times['model']:8.1f}  {times['exported']:11.1f}  {size:7.1f}  {seconds:8.0f}"


if __name__ == "__main__":
    main()
