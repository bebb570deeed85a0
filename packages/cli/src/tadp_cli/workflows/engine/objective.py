"""Images in, loss out: what several processes run side by side."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tadp_cli.workflows.engine.features import Batch, features_of
from tadp_heads import PerceptionModel


class Objective(nn.Module):
    """The loss of a model's task. Its parts are the model's own."""

    def __init__(self, model: PerceptionModel, options: Mapping[str, Any]):
        super().__init__()
        self.backbone, self.head = model.backbone, model.head
        self.task, self.options = model.task, dict(options)

    def forward(self, batch: Batch) -> Tensor:
        """A scalar."""
        features = features_of(self.backbone, batch)
        try:
            return self.task.loss(self.head, features, batch.targets, **self.options)
        except TypeError as error:
            if not self.options:
                raise
            raise ValueError(f"settings of loss: {error}") from error
