"""The mean teacher: its confident predictions on the target train the student (Tarvainen and Valpola 2017)."""

# B images, C channels, h w cells

import logging
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tadp_heads.data import SampleDataset
from tadp_heads.model import PerceptionModel
from tadp_heads.preprocessing import pad_to_multiple
from tadp_heads.training.average import MovingAverage
from tadp_heads.training.config import TrainConfig
from tadp_heads.training.dataset import Batch, LiveBatches, TrainingImages, features_of, read
from tadp_heads.training.features import CachedFeatures, features_for
from tadp_heads.training.parallel.data_parallel import Share
from tadp_heads.training.protocols import Contexts, Report
from tadp_heads.training.sampler import Positions, pick
from tadp_heads.training.self_training.confidence import ClassConfidence
from tadp_heads.training.self_training.config import SelfTrainingConfig
from tadp_heads.training.self_training.monitor import CollapseMonitor
from tadp_heads.training.self_training.pseudo_labels import pseudo_labels

if TYPE_CHECKING:
    from tadp_heads.training.loop import Objective

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TargetDomain:
    """Unlabelled images of a target domain, for `fit`."""

    images: SampleDataset
    """Such as `UnlabelledImages`: their targets are not used."""
    contexts: Contexts
    """The text of each image: the first version is the teacher's, the last the student's."""
    config: SelfTrainingConfig


class SelfTraining:
    """A run's self-training: features of the target, the teacher, thresholds and the collapse monitor."""

    def __init__(self, target: TargetDomain, model: PerceptionModel, train: TrainConfig, trained: dict[str, Any]):
        """`trained`: {name: parameter} of the trained parameters."""
        if model.task.name not in ("segmentation", "detection"):
            raise ValueError(f"self-training is for segmentation and detection, not for {model.task.name}")
        if train.crops:
            raise ValueError("train.crops encodes images of the source alone: leave it out for self-training")
        self.target, self.config, self.model, self.train = target, target.config, model, train
        self.parameters = list(trained.values())
        self.teacher = MovingAverage(self.parameters, self.config.decay)
        classes = len(model.config.classes)
        self.confidence = ClassConfidence(classes, self.config.confidence)
        self.monitor = CollapseMonitor(classes, self.config.least_diversity)
        self.stopped = 0
        """Step after which the monitor stopped it; 0: it did not."""
        self.record: dict[str, float] = {}
        """Of the last step, for metrics.jsonl."""

    def start(self, *, fixed: bool, report: Report, share: Share, begun: int, run: Path) -> None:
        """Make ready what is read; features of a frozen backbone are computed once, under both prompts."""
        images = TrainingImages(self.target.images, self.train, self.target.contexts.versions)
        live = LiveBatches(self.model, images, self.target.contexts)
        features = features_for(live, fixed=fixed, report=report, share=share, begun=begun, run=run)
        positions = Positions(share, range(begun, self.train.steps))
        self.pairs = _cached(features, positions) if isinstance(features, CachedFeatures) else _live(live, positions)

    def loss(self, objective: "Objective", step: int) -> Tensor | None:
        """Of one micro-batch of the target, a scalar; None where there is no label. `objective` is in training mode."""
        of_teacher, of_student = next(self.pairs)
        if self.stopped or step < self.config.start:
            return None
        of_teacher, of_student = _encoded(objective.backbone, of_teacher, of_student)
        with torch.no_grad(), self._as_teacher(objective):
            levels = features_of(objective.backbone, of_teacher)
            found = pseudo_labels(objective.task, objective.head, levels, of_teacher, self.confidence)
        self.monitor.update(found.counts)
        self.record = {"pseudo_labels": found.kept, "effective_classes": self.monitor.diversity}
        if self.monitor.collapsed:
            self.stopped = step
            log.warning(
                "self-training stopped at step %d: the effective number of classes predicted on the target fell from "
                "%.2f to %.2f; training continues on the source alone",
                *(step, self.monitor.first, self.monitor.diversity),
            )
        if self.stopped or not found.images:
            return None
        weight = self.config.weight * (found.kept if self.model.task.name == "segmentation" else 1.0)
        return weight * objective(_of_images(of_student, found.images, found.targets))

    def after_step(self) -> None:
        """Let the teacher follow."""
        self.teacher.update(self.parameters)

    def state_dict(self) -> dict[str, Any]:
        """To resume from."""
        parts: dict[str, Any] = {"teacher": self.teacher, "confidence": self.confidence, "monitor": self.monitor}
        return {"stopped": self.stopped, **{name: part.state_dict() for name, part in parts.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What `state_dict` gave."""
        self.stopped = state["stopped"]
        self.teacher.load_state_dict(state["teacher"])
        self.confidence.load_state_dict(state["confidence"])
        self.monitor.load_state_dict(state["monitor"])

    @contextmanager
    def _as_teacher(self, objective: "Objective") -> Iterator[None]:
        """Inside, the model is the teacher, in eval mode; its weights change places with the student's, uncopied."""
        objective.eval()
        self._change_places()
        try:
            yield
        finally:
            self._change_places()
            objective.train()

    def _change_places(self) -> None:
        for index, parameter in enumerate(self.parameters):
            mine = parameter.data
            parameter.data, self.teacher.weights[index] = self.teacher.weights[index], mine


def _cached(features: CachedFeatures, positions: Positions) -> Generator[tuple[Batch, Batch], None, None]:
    """The same images under the teacher's and the student's prompt."""
    for places in positions:
        rows = [features.rows[pick(features.config, place, features.count)] for place in places]
        yield (
            features.batch(rows, [0] * len(rows)),
            features.batch(rows, [features.versions - 1] * len(rows)),
        )


def _live(live: LiveBatches, positions: Positions) -> Generator[tuple[Batch, Batch], None, None]:
    last = live.images.versions - 1
    for items in read(live.images, positions, live.images.config.workers):
        yield (
            live.batch([item._replace(version=0) for item in items]),
            live.batch([item._replace(version=last) for item in items]),
        )


def _encoded(backbone: Any, of_teacher: Batch, of_student: Batch) -> tuple[Batch, Batch]:
    """Both with latents in the place of their images, so that a frozen VAE runs once per step.

    Where the pass draws at random, teacher and student draw for themselves; backbones without latents take images.
    """
    images = of_teacher.images
    able = all(hasattr(backbone, name) for name in ("encode_image", "extract", "size_multiple"))
    if images is None or not able or getattr(backbone, "is_stochastic", False):
        return of_teacher, of_student
    with torch.no_grad():
        latents = backbone.encode_image(pad_to_multiple(images, backbone.size_multiple))
    encoded: dict[str, Any] = {"images": None, "latents": latents}
    return of_teacher._replace(**encoded), of_student._replace(**encoded)


def _of_images(batch: Batch, images: list[int], targets: list[Any]) -> Batch:
    """These images of the batch, with targets."""

    def chosen(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor[images]

    levels = None if batch.levels is None else [level[images] for level in batch.levels]
    context = batch.context
    if context is not None and len(context) > 1:
        context = context[images]
    given: dict[str, Any] = {"images": chosen(batch.images), "latents": chosen(batch.latents)}
    return batch._replace(targets=targets, levels=levels, context=context, **given)
