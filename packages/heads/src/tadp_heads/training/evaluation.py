"""Evaluation of a model on every image of a split, by one process or by several."""

import logging
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torchmetrics

from tadp_heads.data import SampleDataset
from tadp_heads.distributed import gathered, rank_and_processes
from tadp_heads.model import PerceptionModel
from tadp_heads.precision import in_float32
from tadp_heads.segmentation.metrics import MeanIoU
from tadp_heads.tasks import Metric, get_task
from tadp_heads.training.contexts import ModelContexts
from tadp_heads.training.protocols import Contexts

log = logging.getLogger(__name__)


class Evaluation(NamedTuple):
    """What was measured over a split."""

    metrics: dict[str, float]
    metric: Metric
    """With the counts of all images and processes."""

    @property
    def per_class(self) -> dict[str, float | None]:
        """{class: IoU or AP in [0, 1]}, None where neither annotated nor predicted; empty where classes have none."""
        values = self.metric.per_class() if hasattr(self.metric, "per_class") else {}
        return {name: None if math.isnan(value) else value for name, value in values.items()}


def evaluate(
    model: PerceptionModel, dataset: SampleDataset, contexts: Contexts | None = None, **how: Any
) -> dict[str, float]:
    """The metrics of `measure` by name, such as {"mIoU": ...} in [0, 1]; `how`: its further arguments."""
    return measure(model, dataset, contexts, **how).metrics


@in_float32()
def measure(
    model: PerceptionModel,
    dataset: SampleDataset,
    contexts: Contexts | None = None,
    *,
    protocol: str = "",
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """The protocol's metrics over all images, none left out; a detector may know more classes than the data has.

    Several processes take whole batches, the same as one process would, and join what each counted in the order of the
    batches: the metrics are equal bit for bit where processes have the same CPU and number of threads. `contexts`: the
    text of each image, None: the model's own prompt for all; `protocol`: "" for the model's; `progress` is called with
    how many images are done, and of how many. ValueError for an unknown protocol, and for a split without images.
    """
    task, contexts = model.task, ModelContexts(model) if contexts is None else contexts
    protocol = protocol or model.config.protocol or next(iter(task.protocols))
    if protocol not in task.protocols:
        raise ValueError(f"unknown {task.name} protocol {protocol!r}; choose from {', '.join(task.protocols)}")
    rank, processes = rank_and_processes()
    counted: dict[int, Metric] = {}
    for start in range(rank * batch_size, len(dataset), processes * batch_size):
        indices = range(start, min(start + batch_size, len(dataset)))
        counted[start] = _counted(model, dataset, contexts, protocol, indices)
        if progress is not None:
            progress(min(start + processes * batch_size, len(dataset)), len(dataset))
    if processes > 1:
        counted = {start: metric for share in gathered(counted) for start, metric in share.items()}
    if not counted:
        raise ValueError("the split has no images to evaluate; name another")
    first, *others = (counted[start] for start in sorted(counted))
    for metric in others:
        first.merge_state(metric)
    if isinstance(first, torchmetrics.Metric):
        first.distributed_available_fn = _alone  # the processes' parts are together already
    values = {name: float(value) for name, value in first.compute().items()}
    if rank == 0:
        warn_of_metrics(task.name, first, values)
    return Evaluation(values, first)


def warn_of_metrics(task: str, metric: Metric, values: dict[str, float]) -> None:
    """Warn where no label counts, or one class alone occurs: the metrics then measure nothing."""
    name = get_task(task).main_metric.key
    if math.isnan(values.get(name, 0.0)):
        log.warning("%s is not defined: no label of this split is valid", name)
        return
    if not isinstance(metric, MeanIoU):
        return
    pixels = metric.confusion.sum(1)  # of each class
    if len(pixels) > 1 and int((pixels > 0).sum()) <= 1:
        absent = [label for label, seen in zip(metric.names, pixels.tolist(), strict=True) if not seen]
        log.warning("%s is of one class alone: no pixel of this split has %s", name, ", ".join(absent))


def _alone() -> bool:
    """Whether other processes have a part of a metric's counts."""
    return False


def _counted(
    model: PerceptionModel, dataset: SampleDataset, contexts: Contexts, protocol: str, indices: range
) -> Metric:
    """The metric's counts over one batch."""
    task = model.task
    metric = task.metric(dataset.classes, protocol)
    samples = [dataset[index] for index in indices]
    context = contexts.context([sample.id for sample in samples])
    predictions = model.predict_tensors([s.image for s in samples], context, protocol, len(samples))
    for sample, prediction in zip(samples, predictions, strict=True):
        translated = task.translate(prediction, model.config.classes, dataset.classes)
        metric.update(translated, task.evaluation_target(sample.target, protocol))
    return metric
