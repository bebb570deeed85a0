"""The training loop, on accelerate: one process or many, any precision, resumable.

On the same CPU with the same number of threads, a resumed run ends with the same weights bit for bit.
"""

import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from diffusers.training_utils import EMAModel
from torch.distributed.tensor import DTensor

from tadp_backbone.lora.add import add_low_rank, merge_low_rank
from tadp_cli._io import append
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.prompts.builder import Prompts
from tadp_cli.run.folder import METRICS_FILE, cut_metrics
from tadp_cli.training.checkpoint import Stateful, digest_of, last_state, read_state, reading_state, save_state
from tadp_cli.training.data_parallel import describe_share, share_of
from tadp_cli.training.features import Batch, LiveFeatures, features_for, is_fixed
from tadp_cli.training.fsdp import Shards, whole
from tadp_cli.training.loss import Objective
from tadp_cli.training.lr_schedule import learning_rate_factor
from tadp_cli.training.optimizer import choose_trained, describe_groups, parameter_groups
from tadp_cli.training.out_of_memory import out_of_memory_named
from tadp_cli.training.sync_batchnorm import joined_statistics, with_whole_passes
from tadp_heads import PerceptionModel
from tadp_heads.data import SampleDataset
from tadp_personalize.training.loop import accelerator_for
from tadp_personalize.training.signals import StopRequest, stop_on_sigterm

OnStep = Callable[[int, Callable[[], AbstractContextManager], bool], None]
"""Told of the number of steps done; the second argument opens a context in which the model has the weights that would
be saved now, the third says whether this is the process that writes."""
SEED_LIMIT = 2**32
"""NumPy's generator takes seeds below this."""
_PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}

log = logging.getLogger(__name__)


class StoppedError(RuntimeError):
    """The run was asked to stop; its state is on disk."""


def make_accelerator(recipe: Recipe, device: str) -> Accelerator:
    """Of the recipe's precision; in one process the models are where `device` says, in several each has its own."""
    if recipe.train.precision == "fp16" and device == "cpu":
        raise ValueError("train.precision 'fp16' needs a GPU, where its loss can be scaled; choose bf16 or fp32")
    for name in ("FSDP", "DEEPSPEED"):
        if os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() == "true":
            raise ValueError(
                f"accelerate was launched with {name}: launch with --multi_gpu; train.shard=true then spreads weights, "
                "gradients and optimizer over the processes (FSDP), and else each holds all of them (DDP)"
            )
    # Buffers are not broadcast: `joined_statistics` brings those of all processes together.
    ddp = DistributedDataParallelKwargs(broadcast_buffers=False)
    precision = _PRECISIONS[recipe.train.precision]
    return accelerator_for(precision, cpu=device == "cpu", device_placement=False, kwargs_handlers=[ddp])


def fit(
    recipe: Recipe,
    model: PerceptionModel,
    dataset: SampleDataset,
    prompts: Prompts,
    out: Path,
    device: str,
    report: Report,
    on_step: OnStep = lambda step, as_saved, main: None,
) -> None:
    """Train the model in place; state and metrics go to `out`, and a state that is there is gone on from.

    `on_step` is called after each step, and before the first one of a run that is gone on with.
    """
    config = recipe.train
    accelerator = make_accelerator(recipe, device)
    if config.lora_rank:
        add_low_rank(model.backbone.unet, config.lora_rank, config.seed)
    if config.gradient_checkpointing:
        model.backbone.unet.enable_gradient_checkpointing()
    training = Training(recipe, model, accelerator, out)
    training.start(dataset, prompts, report)
    training.run(report, on_step)
    training.finish()
    if config.gradient_checkpointing:
        model.backbone.unet.disable_gradient_checkpointing()
    if config.lora_rank:
        merge_low_rank(model.backbone.unet)


class Training:
    """One run in one process."""

    def __init__(self, recipe: Recipe, model: PerceptionModel, accelerator: Accelerator, out: Path):
        self.recipe, self.config, self.model, self.accelerator, self.out = recipe, recipe.train, model, accelerator, out
        self.processes, self.rank = accelerator.num_processes, accelerator.process_index
        self.share = share_of(self.config, self.processes, self.rank)
        model.head = with_whole_passes(model.head, self.share, accelerator.device)
        trained = choose_trained(model.head, model.backbone, self.config)
        spread = self.config.shard and self.processes > 1
        self.shards = Shards(model, trained.values(), self.processes, accelerator.device) if spread else None
        self.learner = model if self.shards is None else self.shards.learner
        objective = Objective(self.learner, recipe.loss_options)
        if self.shards is not None:
            self.shards.spread(objective)
        self.objective = accelerator.prepare_model(objective, evaluation_mode=spread)  # what is spread needs no DDP
        # Named only now: weights in parts are other tensors than they were whole.
        self.trained = choose_trained(self.learner.head, self.learner.backbone, self.config)
        groups = parameter_groups(self.trained, self.config)
        for line in (*describe_groups(groups), describe_share(self.share, self.processes)):
            log.info("%s", line)
        if self.shards is not None:
            log.info("what trains, its gradients and moments: spread over %d processes", self.processes)
        self.rates = [group["lr"] for group in groups]
        # torch steps through spread tensors one by one unless it is told not to.
        together = True if spread else None
        self.optimizer = accelerator.prepare(torch.optim.AdamW(groups, betas=self.config.betas, foreach=together))
        parameters = self.trained.values()
        self.average = EMAModel(parameters, decay=self.config.ema) if self.config.ema else None
        self.state = Stateful(
            trained=self.trained,
            buffers=dict(self.learner.head.named_buffers()),
            optimizer=self.optimizer,
            scaler=accelerator.scaler,
            average=self.average,
        )
        self.begun = 0
        self.images = ""
        """Of the ids that the state's passes were drawn from."""

    def start(self, dataset: SampleDataset, prompts: Prompts, report: Report) -> None:
        """Go on from the last state; make ready what the passes read."""
        self.images = digest_of(dataset.ids)
        path = last_state(self.out)
        if path is not None:
            state = read_state(path)
            if state.get("images", self.images) != self.images:
                raise ValueError(
                    f"{self.out} was begun on other images than the {len(dataset)} that its split has now: restore the "
                    "split, or name another --out"
                )
            with reading_state(path):
                self.state.load(state)
                self.begun = state["step"]
        if self.processes > 1:
            begun = self.accelerator.gather(torch.tensor([self.begun], device=self.accelerator.device)).tolist()
            if len(set(begun)) > 1:
                raise RuntimeError(f"{self.out}: processes find states of different steps {begun}; give all one disk")
        if self.accelerator.is_main_process:
            self.out.mkdir(parents=True, exist_ok=True)
            cut_metrics(self.out / METRICS_FILE, self.begun)
        if self.begun == self.config.steps:
            return
        live = LiveFeatures(self.recipe, self.learner.backbone, dataset, prompts)
        live.fill(self.rank, self.processes, report)
        self.accelerator.wait_for_everyone()
        self.features = features_for(live, fixed=is_fixed(self.trained, self.config), progress=report)

    def run(self, report: Report, on_step: OnStep) -> None:
        """All steps that are left."""
        if self.begun:
            on_step(self.begun, self.as_saved, self.accelerator.is_main_process)
        steps = range(self.begun, self.config.steps)
        if not steps:
            return
        positions = (places for step in steps for places in self.share.positions(step))
        with stop_on_sigterm() as request, out_of_memory_named(), closing(self.features.batches(positions)) as batches:
            for step in steps:
                line = self._step(step, batches)
                if self.accelerator.is_main_process:
                    append(self.out / METRICS_FILE, json.dumps(line) + "\n")
                stop = self._anyone(request)
                if (step + 1) % self.config.save_every == 0 or step + 1 == self.config.steps or stop:
                    self._save(step + 1)
                report("train", step + 1, self.config.steps)
                if stop and step + 1 < self.config.steps:
                    raise StoppedError(
                        f"stopped on request after {step + 1} of {self.config.steps} steps; the state is in "
                        f"{last_state(self.out)}: go on with --resume"
                    )
                on_step(step + 1, self.as_saved, self.accelerator.is_main_process)

    def finish(self) -> None:
        """Leave the model with the weights that are to be saved."""
        if self.shards is not None:
            self.shards.gather(self.trained.values() if self.average is None else self.average.shadow_params)
        elif self.average is not None:
            self.average.copy_to(self.trained.values())

    @contextmanager
    def as_saved(self) -> Iterator[None]:
        """Inside, the model has the weights that would be saved now; every process has to enter."""
        unet = self.model.backbone.unet
        if self.average is not None and self.shards is None:
            self.average.store(self.trained.values())
        self.finish()
        if self.config.lora_rank:
            # Merging and taking the updates out again would leave rounding errors in the weights: merge into a copy.
            self.model.backbone.unet = deepcopy(unet)
            merge_low_rank(self.model.backbone.unet)
        try:
            yield
        finally:
            self.model.backbone.unet = unet
            if self.shards is not None:
                self.shards.release()
            elif self.average is not None:
                self.average.restore(self.trained.values())

    def _step(self, step: int, batches: Iterator[Batch]) -> dict[str, Any]:
        factor = learning_rate_factor(step, self.config)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.objective.train()
        with joined_statistics(self.learner.head, self.share, self.processes, self.rank):
            loss = sum(self._pass(step, index, next(batches)) for index in range(self.share.passes))
        loss = self.accelerator.reduce(loss, "mean").item()
        if not math.isfinite(loss):
            raise RuntimeError(self._diverged(f"the loss is {loss} at step {step + 1}"))
        norm = self.accelerator.clip_grad_norm_(list(self.trained.values()), self.config.clip or math.inf)
        norm = (norm.full_tensor() if isinstance(norm, DTensor) else norm).item()
        if not math.isfinite(norm) and self.accelerator.scaler is None:
            # With a scaler of the loss an overflow is ordinary: it skips the step and lowers its scale.
            raise RuntimeError(self._diverged(f"the norm of the gradient is {norm} at step {step + 1}"))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.step(self.trained.values())
        rate, norm = self.optimizer.param_groups[0]["lr"], norm if math.isfinite(norm) else None
        return {"step": step + 1, "loss": loss, "lr": rate, "grad_norm": norm}

    def _pass(self, step: int, index: int, batch: Batch) -> torch.Tensor:
        """Loss of one pass, its gradients added up; all that it draws is a function of seed and number of the pass."""
        # Seeding each pass makes a run that is gone on with the same as one that was never stopped, dropout included.
        apart = self.rank * 7_919_011 if self.share.split else 0
        set_seed((self.config.seed * 1_000_003 + self.share.number(step, index) + apart) % SEED_LIMIT)
        # DDP joins gradients after the last pass; spread ones are joined after each, as whole ones would find no room.
        last = index + 1 == self.share.passes
        with nullcontext() if last else self.accelerator.no_sync(self.objective):
            loss = self.objective(batch) / self.share.passes
            self.accelerator.backward(loss)
        return loss.detach()

    def _save(self, step: int) -> None:
        main = self.accelerator.is_main_process
        state = whole(self.state.state(), keep=main)
        if main:
            save_state(self.out, step, {**state, "images": self.images}, self.config.keep)
        self.accelerator.wait_for_everyone()

    def _anyone(self, request: StopRequest) -> bool:
        """Whether any process was asked to stop, so that all stop at the same step."""
        if self.processes == 1:
            return request.made
        asked = torch.tensor(float(request.made), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked, "sum").item())

    def _diverged(self, what: str) -> str:
        last = last_state(self.out)
        where = "nothing was saved before" if last is None else f"the last good state is {last}"
        return f"{what}: lower train.lr; {where}"
