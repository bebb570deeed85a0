"""A model traced to a graph of torch.export."""

# B images, H W their pixels, T tokens, D width of the context

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from tadp_heads.export.quiet import quiet_torchvision
from tadp_heads.export.settings import ExportSettings
from tadp_heads.model import PerceptionModel


class Graph(nn.Module):
    """images (B, 3, H, W) in [-1, 1], and a context (B, T, D) unless the prompt is fixed -> the task's output."""

    context: Tensor | None

    def __init__(self, model: PerceptionModel, context: Tensor | None):
        super().__init__()
        self.model = model
        self.register_buffer("context", context)

    def forward(self, images: Tensor, context: Tensor | None = None) -> tuple[Tensor, ...]:
        return tuple(self.model(images, self.context if context is None else context))


def trace(
    model: PerceptionModel, fixed: Tensor | None, example: dict[str, Tensor], settings: ExportSettings
) -> ExportedProgram:
    """The graph, with a dynamic batch size.

    `fixed`: the context of all images (1, T, D), None: it is an input, or not needed. `example`: images
    (2, 3, H, W), and where it is an input their context (2, T, D).
    """
    with traceable(model, model.backbone, fixed):
        graph = Graph(model, fixed).eval()
        shapes = {name: {0: Dim.DYNAMIC} for name in example}
        if settings.size is None:
            height, width = (model.size_multiple * Dim(side, min=1, max=512) for side in ("h", "w"))
            shapes["images"] |= {2: height, 3: width}
        return torch.export.export(graph, (), kwargs=example, dynamic_shapes=shapes)


@contextmanager
def traceable(module: nn.Module, backbone: Any, fixed: Tensor | None) -> Iterator[None]:
    """Inside, no parameter asks for a gradient; the module is left in eval mode.

    Where the backbone has `folded`, all that depends on the timestep and on `fixed` (1, T, D) alone is a constant.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    folded = backbone.folded(fixed) if hasattr(backbone, "folded") else nullcontext()
    try:
        module.eval().requires_grad_(False)
        with folded, quiet_torchvision():
            yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
