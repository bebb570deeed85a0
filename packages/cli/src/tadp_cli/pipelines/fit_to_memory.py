"""`tadp train --fit`: a recipe whose training fits into a given memory."""

import logging
from functools import cache
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import nn

from tadp_cli.config.recipe import Recipe
from tadp_cli.device import checked_device
from tadp_cli.pipelines.train import build_model, load_backbone
from tadp_cli.precision import with_precision
from tadp_cli.prompts.builder import training_contexts
from tadp_cli.prompts.kind import Given, make_kind
from tadp_cli.run.run import Run
from tadp_heads import PerceptionModel
from tadp_heads.data.registry import open_data
from tadp_heads.tasks import train_transform
from tadp_heads.training.memory.auto_batch_size import PICKED, Fit, fit_into, parse_memory
from tadp_heads.training.memory.probe import DryStep

log = logging.getLogger(__name__)


def fitted(recipe: Recipe, memory: str, out: Path, *, device: str = "cpu", resume: bool = False) -> Recipe:
    """The recipe with the settings of `PICKED` such that a process takes at most `memory`, such as "12GB", on its
    device; a resumed run keeps its own."""
    limit = parse_memory(memory)
    checked_device(device)
    if resume and Run(out).begun:
        return _as_begun(recipe, Run(out).recipe)
    recipe = with_precision(recipe, out, device)
    state = PartialState(cpu=device == "cpu")
    if state.num_processes > 1:
        device = str(state.device)
    # One process measures for all: they must not pick differently.
    answer: list[Fit | str | None] = [None]
    if state.is_main_process:
        try:
            answer = [_fit(recipe, limit, device, state.num_processes)]
        except ValueError as error:
            answer = [str(error)]
    if state.num_processes > 1:
        answer = broadcast_object_list(answer)
    found = answer[0]
    if not isinstance(found, Fit):
        raise ValueError(found)
    log.info("--fit %s: %s", memory, found)
    return recipe.replace(**{f"train.{name}": getattr(found.config, name) for name in PICKED})


def _as_begun(recipe: Recipe, begun: Recipe) -> Recipe:
    if recipe.train.effective_batch != begun.train.effective_batch:
        return recipe  # refused by `Run.check`, which names the difference
    return recipe.replace(**{f"train.{name}": getattr(begun.train, name) for name in PICKED})


def _fit(recipe: Recipe, limit: int, device: str, processes: int) -> Fit:
    step = dry_step(recipe, device, processes)
    return fit_into(
        recipe.train,
        limit,
        cache(step.bytes_needed),
        half=device != "cpu" and torch.cuda.is_bf16_supported(including_emulation=False),
        normed=any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in step.model.head.modules()),
        processes=processes,
    )


def dry_step(recipe: Recipe, device: str = "cpu", processes: int = 1) -> DryStep:
    """Of the recipe's own model, images and targets; nothing is captioned for it."""
    config = recipe.train
    changed = train_transform(recipe.task, config.transform, config.size) if config.transform else None
    dataset = open_data(recipe.data.folder, recipe.task, recipe.data.train, changed)
    backbone = load_backbone(recipe, device)
    prompts = make_kind(recipe.prompt, dataset.prompt_names).placeholder(Given(dataset.ids, dataset=dataset), backbone)
    model: PerceptionModel = build_model(recipe, backbone, dataset, prompts)
    return DryStep(model, dataset, training_contexts(prompts, backbone), config, recipe.loss, processes)
