"""How a command's backbone computes: the one decision about precision, memory layout, compilation and CUDA graphs."""

import logging
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tadp_backbone import DiffusionBackbone
from tadp_backbone.kernels.available import HAS_TRITON
from tadp_backbone.precision import Precision, is_small, resolve_precision
from tadp_cli.config.recipe import Recipe
from tadp_cli.run.run import Run

COMPILED_FROM = 65_536
"""Images from which a command compiles the UNet's blocks by itself: where the whole UNet was compiled, at 512x512 on an
H100, that took 53 seconds and saved 0.8 ms per image. By blocks it has not been measured on a GPU."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What a command's options say of how its backbone computes."""

    precision: str = "auto"
    """auto, fp32, tf32, bf16 or fp16."""
    compile: bool | None = None
    """Whether the UNet's blocks are compiled; None: from COMPILED_FROM images on, on a GPU."""
    why: str = "as asked"
    """What is said of a precision other than auto."""


AUTO = Speed()
FULL_PRECISION = Speed(precision="fp32", why="as published")
"""Of what compares numbers with the paper's."""


def speed_up(
    backbone: DiffusionBackbone,
    source: str | Path,
    speed: Speed,
    device: str,
    *,
    images: int = 1,
    read_inside: bool = False,
) -> Precision:
    """Make the backbone, which lies on the device with all that is loaded into it, compute as decided; notes it.

    fp32 leaves it unchanged. `source`: its name or folder. `images`: how many the command passes through it.
    `read_inside`: whether the caller reads layers by hooks of its own, which graphs and compiled code pass by.
    """
    chosen = resolve_precision(speed.precision, device, small=is_small(source), setting="--precision", why=speed.why)
    compiled = not read_inside and _compiles(speed.compile, device, images, chosen)
    graphs = not read_inside and torch.device(device).type == "cuda" and chosen.name != "fp32"
    _allow_tf32(chosen)
    done: tuple[str, ...] = ()
    if compiled or chosen.name != "fp32":
        done = backbone.optimize(
            dtype=chosen.half, channels_last=chosen.name != "fp32", compile=compiled, cuda_graphs=graphs
        )
    log.info("precision %s", "; ".join((str(chosen), *done)))
    return chosen


def with_precision(recipe: Recipe, run: Path, device: str) -> Recipe:
    """The recipe with the precision that it trains in on the device; a run that was begun keeps its own."""
    asked, why = recipe.train.precision, "as set"
    if asked == "auto" and Run(run).begun:
        asked, why = Run(run).recipe.train.precision, "the run was begun in it"
    small = is_small(recipe.backbone.source)
    chosen = resolve_precision(asked, device, small=small, training=True, setting="train.precision", why=why)
    _allow_tf32(chosen)
    log.info("precision %s", chosen)
    return recipe.replace(**{"train.precision": chosen.name})


def evaluation_speed(recipe: Recipe, asked: Speed) -> Speed:
    """What is asked for the evaluation of a run: with auto, one that was trained in fp32 is evaluated in fp32."""
    if asked.precision != "auto" or recipe.train.precision != "fp32":
        return asked
    return replace(asked, precision="fp32", why="the run was trained in it")


def _allow_tf32(chosen: Precision) -> None:
    """Of the whole process: torch has no other switch."""
    if chosen.name == "tf32":
        torch.set_float32_matmul_precision("high")


def _compiles(asked: bool | None, device: str, images: int, chosen: Precision) -> bool:
    """Whether the UNet's blocks are compiled; ValueError if that is asked for and there is no compiler."""
    missing = _missing_compiler(torch.device(device).type)
    if asked and missing:
        raise ValueError(f"--compile needs {missing}, and none was found: install one, or leave --compile out")
    if asked is not None:
        return asked
    pays = images >= COMPILED_FROM and torch.device(device).type == "cuda" and chosen.name != "fp32"
    return pays and not missing


def _missing_compiler(kind: str) -> str:
    """What torch's inductor lacks on this kind of device; "" for nothing."""
    if kind == "cuda" and not HAS_TRITON:
        return "Triton"
    variable, names = ("CC", ("gcc", "cc", "clang")) if kind == "cuda" else ("CXX", ("g++", "clang++", "cl"))
    there = any(shutil.which(name) for name in (os.environ.get(variable, ""), *names) if name)
    return "" if there else f"a {'C' if kind == 'cuda' else 'C++'} compiler ({names[0]})"
