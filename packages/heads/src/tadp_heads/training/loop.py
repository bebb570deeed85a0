"""The training loop, on accelerate: one process or many, any precision, resumable.

On the same CPU with the same number of threads, a resumed run ends with the same weights bit for bit.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from tadp_heads.data import SampleDataset
from tadp_heads.model import PerceptionModel
from tadp_heads.seeds import micro_batch_seed, seed_all
from tadp_heads.training.average import MovingAverage
from tadp_heads.training.checkpoint import (
    Stateful,
    digest_of,
    last_state,
    load_last,
    remove_old_states,
    save_state,
)
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.contexts import ModelContexts
from tadp_heads.training.dataset import Batch, LiveBatches, TrainingImages, features_of
from tadp_heads.training.feature_store import remove_features
from tadp_heads.training.features import features_for, is_fixed
from tadp_heads.training.latents import EncodedImages
from tadp_heads.training.loss import check_options
from tadp_heads.training.lr_schedule import learning_rate_factor
from tadp_heads.training.memory.out_of_memory import out_of_memory_named
from tadp_heads.training.metrics_log import add_metrics, cut_metrics
from tadp_heads.training.optimizer import choose_trained, describe_groups, parameter_groups
from tadp_heads.training.parallel.accelerator import make_accelerator
from tadp_heads.training.parallel.data_parallel import describe_share, share_of
from tadp_heads.training.parallel.fsdp import Shards, gathered
from tadp_heads.training.parallel.sync_batchnorm import joined_statistics, with_whole_passes
from tadp_heads.training.protocols import Contexts, LatentPool, Report, needed
from tadp_heads.training.sampler import Positions
from tadp_heads.training.self_training.learner import SelfTraining, TargetDomain
from tadp_heads.training.signals import StopRequest, stop_on_sigterm
from tadp_heads.training.tracking.trackers import Trackers
from tadp_heads.training.validation import OnEvaluate, Validation

OnStep = Callable[[int, dict[str, Any]], None]
"""Called by the first process after each step with the number of steps done, and its "loss", "lr" and "grad_norm"."""

log = logging.getLogger(__name__)


class StoppedError(RuntimeError):
    """The run was asked to stop; its state is on disk."""


def fit(
    model: PerceptionModel,
    dataset: SampleDataset,
    contexts: Contexts | None,
    config: TrainConfig,
    out: Path | str,
    *,
    loss: Mapping[str, Any] | None = None,
    pool: LatentPool | None = None,
    target: TargetDomain | None = None,
    evaluate: Callable[[], dict[str, float]] | None = None,
    on_step: OnStep | None = None,
    on_evaluate: OnEvaluate | None = None,
    report: Report = lambda *_: None,
    trackers: Trackers | None = None,
    panel: Callable[[], Image.Image] | None = None,
) -> None:
    """Train the model in place, on the device that it is on; a run in `out` resumes where it stopped.

    `contexts`: the text of each image, None: the model's own prompt for all. `loss`: further arguments of the task's
    loss. `pool`: of encoded images, to be read in place of `dataset`'s. `target`: unlabelled images of another domain,
    on which the model's own confident predictions are labels. `evaluate` gives the metrics of the model as it then is,
    every `config.eval_every` steps. metrics.jsonl and state/ go to `out`; the model is not saved.
    `trackers` records losses, learning rates, metrics and, after each evaluation, `panel()`; None: those of
    `config.log_with`. Raise ValueError for settings that model, loss or processes refuse, and for a run begun on other
    images; `StoppedError` after SIGTERM; RuntimeError where the loss diverges or memory or disk run out.
    """
    out, accelerator = Path(out), make_accelerator(config.precision, model.device.type)
    contexts = ModelContexts(model) if contexts is None else contexts
    own = Trackers(config.log_with if accelerator.is_main_process else (), out, settings=asdict(config))
    with _prepared(model.backbone, config), own if trackers is None else nullcontext(trackers) as record:
        training = Training(model, config, dict(loss or {}), accelerator, out, record, target)
        training.start(dataset, contexts, pool, report)
        training.run(Validation(config, out, evaluate, on_evaluate, record, panel), on_step, report)
        training.finish()
        if accelerator.is_main_process and not config.cache:
            remove_features(out)  # every process has read its own before the last step


@contextmanager
def _prepared(backbone: Any, config: TrainConfig) -> Iterator[None]:
    """Inside, the backbone trains as the settings say; afterwards it is an ordinary one again."""
    with ExitStack() as after:
        if config.lora_rank:
            needed(backbone, "add_low_rank", "train.lora_rank")(config.lora_rank, config.seed)
        if config.gradient_checkpointing:
            checkpoint = needed(backbone, "checkpoint_gradients", "train.gradient_checkpointing")
            checkpoint(True)
            after.callback(checkpoint, False)
        yield
    if config.lora_rank:
        backbone.merge_low_rank()


class Objective(nn.Module):
    """The loss of a model's task. Its parts are the model's own."""

    def __init__(self, model: PerceptionModel, options: Mapping[str, Any]):
        super().__init__()
        check_options(model.task, options)
        self.backbone, self.head = model.backbone, model.head
        self.task, self.options = model.task, dict(options)

    def forward(self, batch: Batch) -> Tensor:
        """A scalar."""
        features = features_of(self.backbone, batch)
        return self.task.loss(self.head, features, batch.targets, batch.size, **self.options)


class Training:
    """One run in one process."""

    def __init__(
        self,
        model: PerceptionModel,
        config: TrainConfig,
        loss: dict[str, Any],
        accelerator: Accelerator,
        out: Path,
        record: Trackers,
        target: TargetDomain | None = None,
    ):
        self.model, self.config, self.accelerator, self.out = model, config, accelerator, out
        self.record = record
        self.processes, self.rank = accelerator.num_processes, accelerator.process_index
        self.share = share_of(config, self.processes, self.rank)
        model.head = with_whole_passes(model.head, self.share, accelerator.device)
        trained = choose_trained(model.head, model.backbone, config)
        sharded = config.shard and self.processes > 1
        self.shards = Shards(model, trained.values(), self.processes, accelerator.device) if sharded else None
        self.learner = model if self.shards is None else self.shards.learner
        objective = Objective(self.learner, loss)
        if self.shards is not None:
            self.shards.shard(objective)
        self.objective = accelerator.prepare_model(objective, evaluation_mode=sharded)  # sharded: no DDP
        # Only now: sharding replaces the parameter tensors.
        self.trained = choose_trained(self.learner.head, self.learner.backbone, config)
        groups = parameter_groups(self.trained, config)
        for line in (*describe_groups(groups), describe_share(self.share, self.processes)):
            log.info("%s", line)
        if self.shards is not None:
            log.info("parameters, gradients and optimizer state: sharded over %d processes (FSDP)", self.processes)
        self.rates = [group["lr"] for group in groups]
        # One operation for all parameters, in a fifth of the default's time on a CPU; not for sharded ones.
        together = {"foreach": True} if sharded else {"fused": True}
        beta1, beta2 = config.betas
        self.optimizer = accelerator.prepare(torch.optim.AdamW(groups, betas=(beta1, beta2), **together))
        self.average = MovingAverage(self.trained.values(), config.ema) if config.ema else None
        if target is not None and self.processes > 1:
            raise ValueError("self-training runs in one process: start it without a launcher")
        self.self_training = None if target is None else SelfTraining(target, self.learner, config, self.trained)
        self.state = Stateful(
            trained=self.trained,
            buffers=dict(self.learner.head.named_buffers()),
            optimizer=self.optimizer,
            scaler=accelerator.scaler,
            average=self.average,
            self_training=self.self_training,
        )
        self.begun = 0
        self.images = ""
        """Of the ids that the state's positions were drawn from."""

    def start(self, dataset: SampleDataset, contexts: Contexts, pool: LatentPool | None, report: Report) -> None:
        """Resume from the last state; make ready what the micro-batches read."""
        self.images = digest_of(dataset.ids)
        self.begun = load_last(self.out, self.state, dataset.ids)
        if self.processes > 1:
            begun = self.accelerator.gather(torch.tensor([self.begun], device=self.accelerator.device)).tolist()
            if len(set(begun)) > 1:
                raise RuntimeError(
                    f"{self.out}: processes find states of different steps {begun}; all need the same disk"
                )
        if self.accelerator.is_main_process:
            self.out.mkdir(parents=True, exist_ok=True)
            cut_metrics(self.out, self.begun)
            remove_old_states(self.out, self.config.keep)  # a process killed behind its last state left one too many
            self.record.start(self.begun)
        self.accelerator.wait_for_everyone()
        if self.begun == self.config.steps:
            return
        images = self._images(dataset, pool, contexts.versions, report)
        live = LiveBatches(self.learner, images, contexts)
        fixed = is_fixed(self.trained, self.config)
        with self.accelerator.autocast():  # as the passes of training
            self.features = features_for(
                live, fixed=fixed, report=report, share=self.share, begun=self.begun, run=self.out
            )
            if self.self_training is not None:
                self.self_training.start(fixed=fixed, report=report, share=self.share, begun=self.begun, run=self.out)

    def run(self, validation: Validation, on_step: OnStep | None, report: Report) -> None:
        """All steps that are left."""
        self._validate(validation, self.begun)
        steps = range(self.begun, self.config.steps)
        if not steps:
            return
        positions, main = Positions(self.share, steps), self.accelerator.is_main_process
        self.objective.train()
        with stop_on_sigterm() as request, out_of_memory_named(), closing(self.features.batches(positions)) as batches:
            for step in steps:
                line = self._step(step, batches)
                if main:
                    add_metrics(self.out, line)
                    self.record.log(step + 1, self._tracked(line))
                stop = self._anyone(request)
                if (step + 1) % self.config.save_every == 0 or step + 1 == self.config.steps or stop:
                    self._save(step + 1)
                report("train", step + 1, self.config.steps)
                if stop and step + 1 < self.config.steps:
                    raise StoppedError(
                        f"stopped on request after {step + 1} of {self.config.steps} steps; the state is in "
                        f"{last_state(self.out)}: resume with --resume"
                    )
                if main and on_step is not None:
                    on_step(step + 1, line)
                self._validate(validation, step + 1)

    def finish(self) -> None:
        """Leave the model with the weights that are to be saved."""
        if self.shards is not None:
            self.shards.gather(self.trained.values() if self.average is None else self.average.weights)
        elif self.average is not None:
            self.average.copy_to(self.trained.values())

    @contextmanager
    def as_saved(self) -> Iterator[None]:
        """Inside, the model has the weights that would be saved now; every process has to enter."""
        if self.average is not None and self.shards is None:
            self.average.store(self.trained.values())
        self.finish()
        try:
            with self.model.backbone.low_rank_merged() if self.config.lora_rank else nullcontext():
                yield
        finally:
            if self.shards is not None:
                self.shards.release()
            elif self.average is not None:
                self.average.restore(self.trained.values())

    def _images(self, dataset: SampleDataset, pool: LatentPool | None, versions: int, report: Report) -> TrainingImages:
        """What micro-batches read; all that is to be read encoded is in the pool."""
        if pool is None:
            return TrainingImages(dataset, self.config, versions)
        backbone, image_range = self.learner.backbone, self.model.config.image_range
        images = EncodedImages(dataset, self.config, pool, backbone, image_range=image_range, versions=versions)
        images.fill(self.rank, self.processes, report)
        self.accelerator.wait_for_everyone()
        return images

    def _validate(self, validation: Validation, step: int) -> None:
        if step and validation.due(step):
            with self.as_saved():
                validation(step, self.accelerator.is_main_process)

    def _step(self, step: int, batches: Iterator[Batch]) -> dict[str, Any]:
        factor = learning_rate_factor(step, self.config)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        if not (self.learner.training and self.learner.head.training):  # after an evaluation, also a callback's
            self.objective.train()
        with joined_statistics(self.learner.head, self.share, self.processes, self.rank):
            loss = sum(self._pass(step, index, batches) for index in range(self.share.passes))
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
            self.average.update(self.trained.values())
        self_trained: dict[str, Any] = {}
        if self.self_training is not None:
            self.self_training.after_step()
            self_trained = self.self_training.record
        rate, norm = self.optimizer.param_groups[0]["lr"], norm if math.isfinite(norm) else None
        return {"step": step + 1, "loss": loss, "lr": rate, "grad_norm": norm, **self_trained}

    def _tracked(self, line: Mapping[str, Any]) -> dict[str, float | None]:
        """What trackers record of a step: with the learning rate of each group of parameters."""
        rates = {
            f"lr/{group.get('name', index)}": group["lr"] for index, group in enumerate(self.optimizer.param_groups)
        }
        return {"train/loss": line["loss"], "train/grad_norm": line["grad_norm"], **rates}

    def _pass(self, step: int, index: int, batches: Iterator[Batch]) -> Tensor:
        """Loss of the next micro-batch, with its gradients accumulated; its randomness depends on seed and number."""
        number, rank = self.share.number(step, index), self.rank if self.share.split else 0
        seed, batch = micro_batch_seed(self.config.seed, number, rank), next(batches)
        # Seeding each one makes a resumed run the same as one that was never stopped, dropout included.
        seed_all(seed)
        # DDP reduces gradients after the last micro-batch; sharded ones after each, as full gradients need space.
        last = index + 1 == self.share.passes
        with nullcontext() if last else self.accelerator.no_sync(self.objective):
            loss = self.objective(batch) / self.share.passes
            self.accelerator.backward(loss)
        if self.self_training is not None:
            with self.accelerator.autocast():
                of_target = self.self_training.loss(self.objective, step)
            if of_target is not None:
                self.accelerator.backward(of_target / self.share.passes)
        return loss.detach()

    def _save(self, step: int) -> None:
        main = self.accelerator.is_main_process
        state = gathered(self.state.state(), keep=main)
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
