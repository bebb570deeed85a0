"""Scoring a model on every image of a split."""

from collections.abc import Callable

from tadp_cli.workflows.text import Prompts
from tadp_heads import PerceptionModel
from tadp_heads.data import SampleDataset

Report = Callable[[int, int], None]


def evaluate(
    model: PerceptionModel,
    dataset: SampleDataset,
    prompts: Prompts,
    *,
    protocol: str = "",
    batch_size: int = 16,
    progress: Report | None = None,
) -> dict[str, float]:
    """The protocol's metrics over all images, none left out; a detector may know more classes than the data has."""
    task = model.task
    protocol = protocol or model.config.protocol or next(iter(task.protocols))
    if protocol not in task.protocols:
        raise ValueError(f"unknown {task.name} protocol {protocol!r}; choose from {', '.join(task.protocols)}")
    metric = task.metric(dataset.classes, protocol)
    for start in range(0, len(dataset), batch_size):
        samples = [dataset[index] for index in range(start, min(start + batch_size, len(dataset)))]
        context = prompts.context(model.backbone, [sample.id for sample in samples])
        predictions = model.predict_tensors([s.image for s in samples], context, protocol, batch_size)
        for sample, prediction in zip(samples, predictions, strict=True):
            translated = task.translate(prediction, model.config.classes, dataset.classes)
            metric.update(translated, task.scoring_target(sample.target, protocol))
        if progress is not None:
            progress(start + len(samples), len(dataset))
    return {name: float(value) for name, value in metric.compute().items()}
