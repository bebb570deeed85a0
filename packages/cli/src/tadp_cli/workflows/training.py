"""The training engine: one recipe in, one run folder out (paper App. D, REFERENCE.md section 4)."""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor, nn

from tadp_backbone import DiffusionBackbone
from tadp_cli.recipes.recipe import Recipe, TrainConfig
from tadp_cli.workflows.captions import captions_of
from tadp_cli.workflows.devices import checked_device
from tadp_cli.workflows.evaluation import evaluate
from tadp_cli.workflows.features import CachedFeatures, LiveFeatures, Pick, features_for
from tadp_cli.workflows.runs import METRICS_FILE, RESULTS_FILE, begin_run, check_run, cut_metrics, write_json
from tadp_cli.workflows.text import Prompts, build_prompts, prompt_template
from tadp_heads import PerceptionModel
from tadp_heads.data import SampleDataset
from tadp_heads.data.registry import open_data
from tadp_heads.model import PerceptionConfig
from tadp_heads.tasks import get_task, train_transform
from tadp_personalize import base_of, check_base

Report = Callable[[str, int, int], None]
"""Told of progress: what is being done, how much of it is done, how much there is."""
STATE = Path("state") / "state.pt"
SEED_LIMIT = 2**32
"""NumPy's generator takes seeds below this."""


def train(
    recipe: Recipe, out: Path, *, device: str = "cpu", resume: bool = False, report: Report = lambda *_: None
) -> dict[str, Any]:
    """Train as the recipe says and score on its validation split; returns what results.json holds."""
    check_run(out, recipe, resume)
    if resume and (out / RESULTS_FILE).is_file():
        return json.loads((out / RESULTS_FILE).read_text())
    changed = (
        train_transform(recipe.task, recipe.train.transform, recipe.train.size) if recipe.train.transform else None
    )
    dataset = open_data(recipe.data.folder, recipe.task, recipe.data.train, changed)
    validation = open_data(recipe.data.folder, recipe.task, recipe.data.val)
    backbone = load_backbone(recipe, checked_device(device))
    prompts = _prompts(recipe, dataset, backbone, out, device, report)
    model = build_model(recipe, backbone, dataset, prompts)
    begin_run(out, recipe)
    fit(recipe, model, dataset, prompts, out, device, report)
    model.save_pretrained(out)
    scored = _prompts(recipe, validation, backbone, out, device, report)
    metrics = evaluate(
        model,
        validation,
        scored,
        protocol=recipe.protocol,
        progress=lambda done, total: report("score", done, total),
    )
    results = {
        "task": recipe.task,
        "prompt": recipe.prompt.kind,
        "modifier": recipe.prompt.modifier,
        "seed": recipe.train.seed,
        "evaluations": [{"data": recipe.data.folder, "split": recipe.data.val, "metrics": metrics}],
    }
    write_json(out / RESULTS_FILE, results)
    return results


def load_backbone(recipe: Recipe, device: str) -> DiffusionBackbone:
    """The recipe's backbone with its personalized parts, UNet trainable unless its learning rate is 0."""
    backbone = DiffusionBackbone.from_pretrained(
        recipe.backbone.source, device=device, timestep=recipe.backbone.timestep
    )
    if recipe.prompt.token_file:
        # Learnt on another model, a token means something else here; files of other tools don't say on which.
        if base_of(recipe.prompt.token_file) is not None:
            check_base(recipe.prompt.token_file, unet=backbone.unet, text_encoder=backbone.text_encoder)
        backbone.load_tokens(recipe.prompt.token_file)
    if recipe.backbone.unet:
        backbone.load_unet(recipe.backbone.unet)
    return backbone.freeze() if recipe.train.unet_lr_scale == 0 else backbone


def build_model(
    recipe: Recipe, backbone: DiffusionBackbone, dataset: SampleDataset, prompts: Prompts
) -> PerceptionModel:
    """A predictor with a fresh head."""
    set_seed(recipe.train.seed % SEED_LIMIT)
    if prompts.shared is not None:
        # One attention map a token: embeddings of another length than a text's change the levels' widths.
        backbone.config = replace(backbone.config, num_tokens=prompts.shared.shape[1])
    try:
        head = get_task(recipe.task).build_head(backbone.levels, dataset.classes, **recipe.head)
    except TypeError as error:
        raise ValueError(f"settings of head: {error}") from error
    config = PerceptionConfig(
        task=recipe.task,
        classes=dataset.classes,
        palette=dataset.palette,
        prompt=prompt_template(recipe.prompt, dataset.classes),
        captioner=recipe.captioner if recipe.prompt.kind == "caption" else None,
        protocol=recipe.protocol or None,
    )
    return PerceptionModel(backbone, head.to(backbone.unet.device), config, prompts.shared)


def _prompts(
    recipe: Recipe, dataset: SampleDataset, backbone: DiffusionBackbone, out: Path, device: str, report: Report
) -> Prompts:
    captions: Mapping[str, str] | None = None
    if recipe.prompt.kind == "caption":
        captions = captions_of(
            dataset,
            Path(recipe.data.captions) if recipe.data.captions else None,
            captioner=recipe.captioner,
            written_to=out / "captions.jsonl",
            device=device,
            progress=lambda p: report("caption", p.done, p.total),
        )
    return build_prompts(recipe.prompt, dataset, backbone, captions)


def fit(
    recipe: Recipe,
    model: PerceptionModel,
    dataset: SampleDataset,
    prompts: Prompts,
    out: Path,
    device: str,
    report: Report,
) -> None:
    """Train the model in place; state and metrics go to `out`, and a state that is there is gone on from."""
    config = recipe.train
    out.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(cpu=device == "cpu")
    optimizer = torch.optim.AdamW(_groups(model, config), lr=config.lr, weight_decay=config.weight_decay)
    trained = _trained(model)
    start = _resume(trained, optimizer, out / STATE)
    cut_metrics(out / METRICS_FILE, start)
    source = features_for(
        model.backbone,
        dataset,
        prompts,
        fixed=config.unet_lr_scale == 0 and not config.transform,
        flip=config.mirrors,
        progress=lambda done, total: report("features", done, total),
    )
    base_rates = [group["lr"] for group in optimizer.param_groups]
    for step in range(start, config.steps):
        for group, rate in zip(optimizer.param_groups, base_rates, strict=True):
            group["lr"] = rate * learning_rate_factor(step, config)
        loss = _step(recipe, model, source, accelerator, step, len(dataset))
        if not math.isfinite(loss.item()):
            raise RuntimeError(
                f"the loss is {loss.item()} at step {step + 1}: lower train.lr; the last good state is {out / STATE}"
            )
        if config.clip:
            accelerator.clip_grad_norm_(trained.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        _log(out / METRICS_FILE, step + 1, loss.item(), optimizer.param_groups[0]["lr"])
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            _save(trained, optimizer, step + 1, out / STATE)
        report("train", step + 1, config.steps)


def _step(
    recipe: Recipe,
    model: PerceptionModel,
    source: LiveFeatures | CachedFeatures,
    accelerator: Accelerator,
    step: int,
    count: int,
) -> Tensor:
    """Loss and gradients of one step; all it draws at random is a function of seed and step alone."""
    # Seeding each step makes a resumed run the same as one that was never stopped, dropout included.
    set_seed((recipe.train.seed * 1_000_003 + step) % SEED_LIMIT)
    model.train()
    picks = draw(recipe.train, step, count)
    features, targets = source.batch(picks)
    loss = model.task.loss(model.head, features, targets)
    accelerator.backward(loss)
    return loss.detach()


def draw(config: TrainConfig, step: int, count: int) -> list[Pick]:
    """The images of a step: epochs are shuffled one after the other, so every image comes equally often."""
    picks = []
    for position in range(step * config.batch_size, (step + 1) * config.batch_size):
        epoch, place = divmod(position, count)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(config.seed * 7919 + epoch))
        coin = torch.rand(1, generator=torch.Generator().manual_seed(position * 31 + config.seed))
        picks.append((int(order[place]), config.mirrors and bool(coin > 0.5)))
    return picks


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Linear warm-up from 0, then the schedule; in units of the peak."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(config.steps - config.warmup, 1)
    if config.schedule == "poly":
        return 1 - progress
    return 0.5 * (1 + math.cos(math.pi * progress)) if config.schedule == "cosine" else 1.0


def _groups(model: PerceptionModel, config: TrainConfig) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = [{"params": list(model.head.parameters())}]
    if config.unet_lr_scale:
        unet = [p for p in model.backbone.unet.parameters() if p.requires_grad]
        groups.append({"params": unet, "lr": config.lr * config.unet_lr_scale})
    return groups


def _trained(model: PerceptionModel) -> nn.ModuleDict:
    """What changes: the head, and the UNet where it trains."""
    parts: dict[str, nn.Module] = {"head": model.head}
    if any(p.requires_grad for p in model.backbone.unet.parameters()):
        parts["unet"] = model.backbone.unet
    return nn.ModuleDict(parts)


def _save(trained: nn.Module, optimizer: torch.optim.Optimizer, step: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save({"trained": trained.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, temporary)
    os.replace(temporary, path)


def _resume(trained: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> int:
    """Number of steps done already."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True, map_location=next(trained.parameters()).device)
    trained.load_state_dict(state["trained"])
    rates = [group["lr"] for group in optimizer.param_groups]
    optimizer.load_state_dict(state["optimizer"])
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    return state["step"]


def _log(path: Path, step: int, loss: float, rate: float) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "loss": loss, "lr": rate}) + "\n")
