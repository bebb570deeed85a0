"""Compute and memory of each row's backbone, reported with the row's metrics."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

from tadp_backbone.vision.costs import BackboneCosts, backbone_costs
from tadp_cli.deployment.benchmark import benchmark_run
from tadp_cli.experiments.reproduce.plan import PlannedRun
from tadp_cli.pipelines.memory_estimate import SCENES_SIDE
from tadp_cli.run.run import Run


def costs_of_rows(plan: Sequence[PlannedRun], device: str) -> dict[str, dict[str, Any]]:
    """{row: parameters, GFLOPs and licence of its backbone; milliseconds per image of its trained model, head included,
    in single precision on this device; the image's side in pixels}, of rows that have been run."""
    counted = cache(backbone_costs)
    found: dict[str, dict[str, Any]] = {}
    for row, recipe, run in plan:
        if row.name in found or not Run(run).finished:
            continue
        side = recipe.train.size or SCENES_SIDE
        costs: BackboneCosts = counted(recipe.backbone.source, side)
        timed = benchmark_run(run, [(side, side)], ["fp32"], [1], device=device, report=lambda *_: None)
        took = timed["costs"][0]["milliseconds"]
        found[row.name] = {**asdict(costs), "image_size": side, "milliseconds": took, "device": timed["device"]}
    return found
