"""The training loop that the three tiny models share: resumable, logged, with a moving average of the weights."""

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from tadp_heads.atomic_files import append, replacing
from tadp_heads.seeds import numbered_seed

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    steps: int
    batch_size: int
    lr: float
    warmup: int = 150
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.998
    """Decay of the moving average whose weights are the result."""
    seed: int = 0
    save_every: int = 200
    log_every: int = 20
    export_minutes: float = 20
    """Time between usable weights."""
    stop: int | None = None
    """Step after which to end although the schedule continues; None: at its end."""


StepLoss = Callable[[int, torch.Generator], tuple[Tensor, dict[str, float]]]
"""What one step computes from its number and its own random stream: the loss and further numbers to log."""


def train(
    module: Module,
    step_loss: StepLoss,
    config: LoopConfig,
    folder: Path,
    export: Callable[[Module], None] = lambda module: None,
) -> None:
    """Train `module` in place and leave the averaged weights in it.

    `export` gets a copy with the averaged weights every `config.export_minutes` and at the end. Every step draws from a
    generator seeded by (seed, step), so a training that was stopped resumes as if it had not been. Losses go to
    `metrics.jsonl`, the state to `state.pt`; both in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
    )
    average = {name: p.detach().clone() for name, p in module.named_parameters()}
    start = _resume(module, optimizer, average, folder / "state.pt")
    began = exported = time.monotonic()
    module.train()
    end = config.steps if config.stop is None else config.stop
    for step in range(start, end):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * _schedule(step, config)
        loss, logs = step_loss(step, torch.Generator().manual_seed(numbered_seed(config.seed, step)))
        if not math.isfinite(loss.item()):
            raise RuntimeError(f"loss is {loss.item()} at step {step}; the last good state is {folder / 'state.pt'}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), config.clip)
        optimizer.step()
        _average(average, module, min(config.ema, (1 + step) / (10 + step)))
        done = step + 1
        if done % config.log_every == 0 or done == end:
            line = {"step": done, "loss": loss.item(), **logs, "seconds": round(time.monotonic() - began, 1)}
            append(folder / "metrics.jsonl", json.dumps(line) + "\n")
        if done % config.save_every == 0 or done == end:
            _save(module, optimizer, average, done, folder / "state.pt")
        if done < end and time.monotonic() - exported > 60 * config.export_minutes:
            exported = time.monotonic()
            export(_averaged(module, average))
    module.load_state_dict(average, strict=False)
    module.eval()
    export(copy.deepcopy(module))


def _schedule(step: int, config: LoopConfig) -> float:
    """Linear warm-up, then a cosine to 2 % of the rate."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    progress = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))


@torch.no_grad()
def _average(average: dict[str, Tensor], module: nn.Module, decay: float) -> None:
    for name, parameter in module.named_parameters():
        average[name].lerp_(parameter, 1 - decay)


def _averaged(module: Module, average: dict[str, Tensor]) -> Module:
    """A copy of `module` with the averaged weights."""
    module = copy.deepcopy(module)
    module.load_state_dict(average, strict=False)
    return module.eval()


def _save(module: nn.Module, optimizer: torch.optim.Optimizer, average: dict, step: int, path: Path) -> None:
    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "average": average, "step": step}
    with replacing(path) as partial:
        torch.save(state, partial)


def averaged_weights(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of the training in `folder`, as far as it got."""
    return torch.load(folder / "state.pt", weights_only=True)["average"]


def _resume(module: nn.Module, optimizer: torch.optim.Optimizer, average: dict, path: Path) -> int:
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    average.update(state["average"])
    return state["step"]
