"""Images in, loss out: what several processes run side by side."""

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

from torch import Tensor, nn

from tadp_heads.model import PerceptionModel
from tadp_heads.schema import checked
from tadp_heads.segmentation.loss import LOSSES, check_loss
from tadp_heads.tasks import Task
from tadp_heads.training.dataset import Batch
from tadp_heads.training.protocols import Backbone, needed


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


def features_of(backbone: Backbone, batch: Batch) -> list[Tensor]:
    """The levels of a batch's padded images; gradients reach the UNet where it trains."""
    if batch.levels is not None:
        return batch.levels
    if batch.images is not None:
        return list(backbone(batch.images, batch.context).levels)
    extract = needed(backbone, "extract", "train.crops")
    return list(extract(batch.latents, batch.context, image_size=batch.padded_size).levels)


def check_options(task: Task, options: Mapping[str, Any]) -> None:
    """Refuse settings that the task's loss does not have, and values that it does not take."""
    functions = [task.loss]
    if task.name == "segmentation":  # what it doesn't know itself it gives to the loss that `kind` names
        kind = options.get("kind", signature(task.loss).parameters["kind"].default)
        functions += [LOSSES[kind]] if kind in LOSSES else []
    parameters = [p for function in functions for p in signature(function).parameters.values()]
    known = {p.name: p.annotation for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
    known.pop("ignore_index", None)  # as the data has it
    for name, value in options.items():
        if name not in known:
            there = f"choose from {', '.join(known)}" if known else f"the loss of {task.name} has none"
            raise ValueError(f"settings of loss: unknown {name!r}; {there}")
        checked(value, known[name], ("loss", name))
    if task.name == "segmentation":
        check_loss(**options)
