"""One training step of which nothing stays but the number of bytes that it took."""

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from tadp_heads.data import SampleDataset
from tadp_heads.model import PerceptionModel
from tadp_heads.preprocessing import padded_size
from tadp_heads.training.average import MovingAverage
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.contexts import SharedContext
from tadp_heads.training.dataset import Batch, LiveBatches, TrainingImages, features_of
from tadp_heads.training.features import cached_bytes, is_fixed
from tadp_heads.training.memory.meta_attention import fused_attention
from tadp_heads.training.memory.meta_autocast import meta_autocast
from tadp_heads.training.memory.tracker import LiveBytes, weight_bytes
from tadp_heads.training.optimizer import choose_trained, parameter_groups
from tadp_heads.training.parallel.data_parallel import share_of
from tadp_heads.training.parallel.fsdp import blocks
from tadp_heads.training.protocols import Contexts, needed

OVERHEAD = 2**29
"""Bytes of a process apart from its tensors: a CUDA device's context and libraries, or the interpreter's own."""
WORKSPACES = 1.15
"""What is counted on the CPU times this: kernels allocate for themselves too, 13 % more for the depth head's."""
_FULL = dict.fromkeys(("auto", "fp32", "tf32"), torch.float32)
DTYPES = {**_FULL, "bf16": torch.bfloat16, "fp16": torch.float16}
"""{precision: type of the passes}."""


class DryStep:
    """Steps by the same settings with other splits into micro-batches; uses the model up.

    On a CUDA device steps are done and the allocator says what they took. On the CPU, and where one device would have
    to hold what several processes share, the backbone becomes one without memory, whose operations are the same, and
    what they would allocate is counted.
    """

    def __init__(
        self,
        model: PerceptionModel,
        dataset: SampleDataset,
        contexts: Contexts,
        config: TrainConfig,
        loss: Mapping[str, Any],
        processes: int = 1,
    ):
        """`contexts` of one length: that of the first image stands for all."""
        self.model, self.config, self.loss, self.processes = model, config, dict(loss), processes
        self.spread = processes if config.shard else 1
        self.counts = self.spread > 1 or model.device.type != "cuda"
        with torch.no_grad():
            shared = SharedContext(contexts.context(dataset.ids[:1]))
        self.live = LiveBatches(model, TrainingImages(dataset, config), shared)
        if config.lora_rank:
            needed(model.backbone, "add_low_rank", "train.lora_rank")(config.lora_rank, config.seed)
        if self.counts:
            model.head.to("cpu")
            model.backbone.to("meta")
            self.live.device = torch.device("meta")
        self.trained = choose_trained(model.head, model.backbone, config)

    @cached_property
    def fixed_bytes(self) -> int:
        """What a step doesn't change: features kept in memory, and the buckets in which processes join gradients."""
        kept = cached_bytes(self.live) if is_fixed(self.trained, self.config) else 0
        joined = self.processes > 1 and self.spread == 1
        return OVERHEAD + kept + (_total(self.trained.values()) if joined else 0)

    def bytes_needed(self, config: TrainConfig) -> float:
        """Of one process on its device; infinite where the device has less."""
        checkpoint = needed(self.model.backbone, "checkpoint_gradients", "train.gradient_checkpointing")
        checkpoint(config.gradient_checkpointing)
        self.model.train()
        share = share_of(config, self.processes, 0)
        batch = self._batch(share.size)
        took = self._counted if self.counts else self._measured
        return self.fixed_bytes + took(config, batch, share.passes > 1) - self._elsewhere(config)

    def _elsewhere(self, config: TrainConfig) -> float:
        """Bytes that other processes hold where parameters are sharded, less what is replicated: weights and
        gradients of what is in no block, and of one block at a time, while the next one's weights arrive."""
        if self.spread == 1:
            return 0
        trained = _total(self.trained.values())
        in_blocks = [_total(p for p in block.parameters() if p.requires_grad) for block in blocks(self.model.backbone)]
        replicated = 2 * (trained - sum(in_blocks)) + 3 * max(in_blocks)
        copies = 5 if config.ema else 4  # weights, gradients, AdamW's moments, and the average
        return (1 - 1 / self.spread) * copies * trained - replicated

    def _counted(self, config: TrainConfig, batch: Batch, accumulates: bool) -> float:
        known = [*self.model.parameters(), *self.model.buffers(), *_tensors(batch)]
        with LiveBytes(known) as counted, fused_attention(), meta_autocast(DTYPES[config.precision]):
            self._pass(config, batch, accumulates)
        self._forget_gradients()
        trained = _total(self.trained.values())
        copies = 3 if config.ema else 2  # AdamW's moments, and the average
        return weight_bytes(self.model) + copies * trained + WORKSPACES * counted.peak

    def _measured(self, config: TrainConfig, batch: Batch, accumulates: bool) -> float:
        parameters, device = list(self.trained.values()), self.model.device
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        try:
            beta1, beta2 = config.betas
            optimizer = torch.optim.AdamW(parameter_groups(self.trained, config), betas=(beta1, beta2))
            average = MovingAverage(parameters, config.ema) if config.ema else None
            for _ in range(2):  # the second step finds the moments of the first
                self._pass(config, batch, accumulates)
                optimizer.step()
                self._forget_gradients()
            del average
        except torch.OutOfMemoryError:
            return math.inf
        finally:
            self._forget_gradients()
        return torch.cuda.max_memory_reserved(device)

    def _forget_gradients(self) -> None:
        for parameter in self.trained.values():
            parameter.grad = None

    def _pass(self, config: TrainConfig, batch: Batch, accumulates: bool) -> None:
        if accumulates:  # the gradients of the micro-batches before
            for parameter in self.trained.values():
                parameter.grad = torch.zeros_like(parameter)
        half = DTYPES[config.precision] != torch.float32
        device = "cpu" if self.counts else "cuda"
        with torch.autocast(device, dtype=DTYPES[config.precision] if half else None, enabled=half):
            levels = [arriving(level) for level in features_of(self.model.backbone, batch)]
            loss = self.model.task.loss(self.model.head, levels, batch.targets, batch.size, **self.loss)
        loss.float().backward()

    def _batch(self, count: int) -> Batch:
        items = [self.live.images[position] for position in range(count)]
        batch = self.live.batch(items)
        if self.counts:
            batch = batch._replace(targets=[item.target for item in items])
        if not self.config.crops:
            return batch
        backbone = self.model.backbone
        cells = [side // backbone.vae_factor for side in padded_size(items[0].size, backbone.size_multiple)]
        pool = torch.zeros(count, backbone.latent_channels, *cells, device=self.live.device)
        return batch._replace(images=None, latents=pool)


class _Arrival(torch.autograd.Function):
    """Features without memory -> ones with values, so that heads and losses that depend on values run."""

    @staticmethod
    def forward(ctx: Any, level: Tensor) -> Tensor:
        return torch.rand(level.shape, dtype=level.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return torch.empty_like(gradient, device="meta")


def arriving(level: Tensor) -> Tensor:
    """A level without memory as one with values; any other unchanged."""
    return _Arrival.apply(level) if level.is_meta else level


def _tensors(batch: Batch) -> list[Tensor]:
    targets = [t for target in batch.targets for t in (target.values() if isinstance(target, Mapping) else (target,))]
    return [t for t in (batch.images, batch.latents, batch.context, *targets) if t is not None]


def _total(parameters: Iterable[nn.Parameter]) -> int:
    """Bytes."""
    return sum(p.numel() * p.element_size() for p in parameters)
