"""Learning a domain's look, with the defaults of the domain table filled in."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tadp_backbone.table import TINY_FOLDER
from tadp_captioning import find_images, get_domain
from tadp_captioning.domains import DREAMBOOTH_TOKEN
from tadp_cli.workflows.devices import checked_device
from tadp_cli.workflows.training import Report
from tadp_heads.data.scenes import LOOKS
from tadp_heads.data.scenes_disk import write_scenes
from tadp_personalize import Personalization, dreambooth, preset, textual_inversion

METHODS = ("textual-inversion", "dreambooth")
SCENES_SEED = 7
"""Scenes that are neither trained nor scored on anywhere else."""
HELD_OUT = 16


def personalize(
    *,
    domain: str,
    images: Path | None,
    method: str,
    backbone: str,
    preset_name: str,
    held_out: Path | None,
    count: int,
    out: Path,
    resume: bool,
    device: str,
    seed: int,
    report: Report,
    steps: int | None = None,
) -> Personalization:
    """Textual Inversion or DreamBooth on the images, or on Scenes in the domain's look where none are given."""
    look = get_domain(domain)
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose from {', '.join(METHODS)}")
    if images is None and held_out is not None:
        raise ValueError("--held-out goes with --images; Scenes bring their own")
    checked_device(device)
    if images is None and look.name not in LOOKS:
        raise ValueError(
            f"domain {domain!r} has no shipped pictures ({', '.join(LOOKS)} have): name a folder with --images"
        )
    config = preset(preset_name or ("miniature" if backbone == "tiny" else "paper-table-s4"), method)
    with tempfile.TemporaryDirectory() as scratch:
        if images is None:
            images, held_out = draw_look(Path(scratch), look.name, count, SCENES_SEED)
        learner: Any = textual_inversion if method == "textual-inversion" else dreambooth
        naming = {"token": look.token, "initializer": " ".join(look.initial)}
        if method == "dreambooth":
            naming = {"token": DREAMBOOTH_TOKEN}
        return learner(
            TINY_FOLDER if backbone == "tiny" else backbone,
            list(find_images(images).values()),
            **naming,
            config=replace(config, seed=seed, cpu=device == "cpu", steps=steps or config.steps),
            out=out,
            held_out=None if held_out is None else list(find_images(held_out).values()),
            progress=lambda step, steps, loss: report("personalize", step, steps),
            resume=resume,
        )


def draw_look(folder: Path, look: str, count: int, seed: int) -> tuple[Path, Path]:
    """Scenes in a look: a folder to learn from and a folder to measure by."""
    roots = folder / "learn", folder / "held_out"
    for root, number, first in zip(roots, (count, HELD_OUT), (0, count), strict=True):
        write_scenes(root, task="segmentation", look=look, split="all", count=number, seed=seed, first=first)
    return roots
