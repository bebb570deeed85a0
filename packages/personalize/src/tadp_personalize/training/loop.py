"""The training loop of both methods, on accelerate: one process or many, any precision, resumable.

On the same CPU with the same number of threads, a resumed run ends with the same weights bit for bit.
"""

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from tadp_personalize._io import append
from tadp_personalize.config import TrainingConfig
from tadp_personalize.training.accelerate_state import accelerator_for
from tadp_personalize.training.checkpoint import METRICS_FILE, begin_files, load_state, save_state
from tadp_personalize.training.lr_schedule import learning_rate
from tadp_personalize.training.sampler import Batches
from tadp_personalize.training.signals import stop_on_sigterm
from tadp_personalize.training.trackers import Trackers

Progress = Callable[[int, int, float], None]
"""Called after each update with: updates done, updates in all, the update's loss."""

_MAY_CHANGE_ON_RESUME = ("steps", "save_every", "sample_every", "held_out_timesteps", "cpu", "log_with")

log = logging.getLogger(__name__)


class DivergedError(RuntimeError):
    """The loss or its gradient is no number any more."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How far a run came."""

    steps: int
    """Updates done, those before a resume included."""
    finished: bool
    """False: it was asked to stop, and its state is on disk."""


def make_accelerator(config: TrainingConfig) -> Accelerator:
    """Return the accelerator that the settings ask for."""
    return accelerator_for(config.mixed_precision, cpu=config.cpu, gradient_accumulation_steps=config.accumulate)


def train(
    *,
    accelerator: Accelerator,
    objective: nn.Module,
    trained: dict[str, nn.Parameter],
    batches: Batches,
    config: TrainingConfig,
    folder: Path,
    identity: dict[str, Any],
    resume: bool,
    progress: Progress | None,
    on_sample: Callable[[int], None] | None,
    trackers: Trackers,
) -> Outcome:
    """Minimise `objective` over `trained`; write metrics.jsonl and the state to resume from, and to the trackers.

    `identity` (images, base model, ...) and the settings must be the state's own when resuming. `on_sample(step)` draws
    images.
    """
    optimizer = make_optimizer(list(trained.values()), config)
    model, optimizer = accelerator.prepare(objective, optimizer)
    scaler = accelerator.scaler
    settings = identity | {k: v for k, v in asdict(config).items() if k not in _MAY_CHANGE_ON_RESUME}
    kept = {"settings": settings, "trained": trained, "optimizer": optimizer, "scaler": scaler}
    start = load_state(folder, **kept) if resume else 0
    if start > config.steps:
        raise ValueError(f"{folder} holds a run of {start} steps, more than the {config.steps} asked for")
    update = _Update(accelerator, model, optimizer, trained, batches, config)

    def save(step: int) -> None:
        if accelerator.is_main_process:
            save_state(folder, step=step, **kept)
        accelerator.wait_for_everyone()

    if accelerator.is_main_process:
        begin_files(folder, start)
        trackers.start(start)
    with stop_on_sigterm() as request:
        for step in range(start, config.steps):
            if _anyone(accelerator, request.made):
                save(step)
                log.info("stopped on request after %d of %d steps; the state is in %s", step, config.steps, folder)
                return Outcome(steps=step, finished=False)
            try:
                line = update(step)
            except DivergedError as error:
                if all(parameter.isfinite().all() for parameter in trained.values()):
                    save(step)
                raise DivergedError(f"{error}; the last good state is in {folder}; try a lower learning rate") from None
            if accelerator.is_main_process:
                append(folder / METRICS_FILE, json.dumps(line) + "\n")
                trackers.log(step + 1, {f"train/{name}": line[name] for name in ("loss", "lr", "grad_norm")})
            if progress:
                progress(step + 1, config.steps, line["loss"])
            if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
                save(step + 1)
            if on_sample and config.sample_every and (step + 1) % config.sample_every == 0:
                on_sample(step + 1)
    return Outcome(steps=config.steps, finished=True)


def make_optimizer(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    """Return AdamW, with its moments in 8 bits when the settings say so."""
    kind = _adam_8bit() if getattr(config, "adam_8bit", False) else torch.optim.AdamW
    return kind(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)


def _adam_8bit() -> type[Any]:
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise ValueError(
            "adam_8bit=True needs the package bitsandbytes: pip install bitsandbytes, or set adam_8bit=False"
        )
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit


@dataclass(frozen=True)
class _Update:
    """One update of the weights, over the accumulated micro-batches of all processes."""

    accelerator: Accelerator
    model: nn.Module
    optimizer: Any
    trained: dict[str, nn.Parameter]
    batches: Batches
    config: TrainingConfig

    def __call__(self, step: int) -> dict[str, Any]:
        began = time.perf_counter()
        rate = learning_rate(self.config, step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = [self._micro(step * self.config.accumulate + k) for k in range(self.config.accumulate)]
        norm = self._gradient_norm(step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        seconds = time.perf_counter() - began
        return {
            "step": step + 1,
            "loss": sum(losses) / len(losses),
            "lr": rate,
            "grad_norm": norm,
            "seconds": round(seconds, 4),
        }

    def _micro(self, index: int) -> float:
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        batch = self.batches[index * processes + rank].to(self.accelerator.device)
        with self.accelerator.accumulate(self.model):
            loss = (self.model(batch) * batch.weights).sum()
            mean = self.accelerator.gather(loss.detach()).mean().item()
            if not math.isfinite(mean):
                raise DivergedError(f"the loss of step {index // self.config.accumulate + 1} is {mean}")
            self.accelerator.backward(loss)
        return mean

    def _gradient_norm(self, step: int) -> float | None:
        limit = self.config.max_grad_norm if self.config.max_grad_norm is not None else math.inf
        norm = float(self.accelerator.clip_grad_norm_(list(self.trained.values()), limit))
        if math.isfinite(norm):
            return norm
        if self.accelerator.scaler is None:
            raise DivergedError(f"the gradient of step {step + 1} is {norm}")
        return None  # with a loss scaler an overflow is ordinary: it skips the update and lowers its scale


def _anyone(accelerator: Accelerator, flag: bool) -> bool:
    """Whether the flag is up in any process, so that all stop at the same step."""
    if accelerator.num_processes == 1:
        return flag
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum").item())
