"""The graph of the page: one pass gives where each token attends and, with a head, the classes of the pixels."""

# B images, H W their pixels, h w cells of the finest map, T tokens, D width of the context, K classes

from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional as F

from tadp_heads.export.graph import traceable
from tadp_heads.model import PerceptionModel

INPUTS = ("images", "context")


class MapsGraph(nn.Module):
    """images (B, 3, H, W) in [-1, 1], context (B, T, D) -> maps (B, T, h, w), and of a model logits (B, K, H, W).

    Maps are the attention at the backbone's map strides, upsampled to the finest one and averaged.
    """

    def __init__(self, backbone: nn.Module, model: PerceptionModel | None):
        super().__init__()
        self.backbone = backbone
        self.model = model

    def forward(self, images: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        features = self.backbone(images, context)
        finest = features.attention[min(features.attention)]
        maps = torch.stack([self._upsampled(maps, finest) for maps in features.attention.values()]).mean(0)
        if self.model is None:
            return (maps,)
        size = (images.shape[-2], images.shape[-1])
        return (maps, self.model.task.output(self.model.head, features.levels, size)[0])

    @staticmethod
    def _upsampled(maps: Tensor, finest: Tensor) -> Tensor:
        size = (finest.shape[-2], finest.shape[-1])
        return maps if maps.shape == finest.shape else F.interpolate(maps, size, mode="bilinear", align_corners=False)


@torch.no_grad()
def trace_maps(graph: MapsGraph, size: tuple[int, int], context: Tensor) -> ExportedProgram:
    """For one image of `size` (H, W); `context`: (1, T, D) to trace with."""
    example: dict[str, Any] = {"images": torch.zeros(1, 3, *size), "context": context}
    with traceable(graph, graph.backbone, None):
        return torch.export.export(graph, (), kwargs=example)
