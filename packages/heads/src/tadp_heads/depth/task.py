"""Depth, as training and evaluation see it."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from tadp_heads.data.sample import Color, Target
from tadp_heads.depth.head import DepthHead
from tadp_heads.depth.loss import silog_loss
from tadp_heads.depth.metrics import DepthMetrics
from tadp_heads.depth.output import DepthOutput
from tadp_heads.depth.protocol import PROTOCOLS, DepthProtocol, get_protocol
from tadp_heads.depth.transforms import TRAIN_TRANSFORMS
from tadp_heads.preprocessing import covered_size, cut_padding, multiple_of, pad_to_multiple, size_of
from tadp_heads.registry import head_class
from tadp_heads.results import DepthResult
from tadp_heads.tasks import Extract, Features, MainMetric


class DepthTask:
    """Implements `tadp_heads.tasks.Task`; classes play no part."""

    name = "depth"
    head_class = DepthHead
    main_metric = MainMetric(key="rmse", name="RMSE", unit="metres", higher_is_better=False)
    protocols = PROTOCOLS
    train_transforms = TRAIN_TRANSFORMS

    def build_head(
        self, levels: Sequence[Any], classes: Sequence[str], *, name: str = "vpd", **options: Any
    ) -> nn.Module:
        """A head with fresh weights; `options` are further arguments of its class, e.g. max_depth_m."""
        return head_class(self.name, name)(levels, **options)

    def loss(
        self,
        head: nn.Module,
        features: Features,
        targets: Sequence[Target],
        image_size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Scale-invariant loss over the pixels of the batch that have a value; targets (H, W) metres of one size."""
        target = torch.stack([target.as_subclass(Tensor) for target in targets])[:, None]  # (B, 1, H, W)
        return silog_loss(depth_of(head, features, image_size), target)

    @torch.no_grad()
    def predict(
        self, head: nn.Module, extract: Extract, images: Tensor, protocol: str | DepthProtocol = "full"
    ) -> list[Tensor]:
        """Images (B, 3, H, W) of any size -> B maps (H, W) float32 in metres, on the CPU."""
        multiple = multiple_of(head)

        def predict(part: Tensor) -> Tensor:
            features = extract(pad_to_multiple(part, multiple))
            return depth_of(head, features, size_of(part)).float()

        return list(get_protocol(protocol).predict(predict, images)[:, 0].cpu())

    def output(self, head: nn.Module, features: Features, image_size: tuple[int, int]) -> DepthOutput:
        """Metres at the images' own size."""
        return DepthOutput(depth_of(head, features, image_size).float())

    def translate(self, prediction: Tensor, classes: Sequence[str], wanted: Sequence[str]) -> Tensor:
        """The map unchanged."""
        return prediction

    def evaluation_target(self, target: Target, protocol: str | DepthProtocol) -> Target:
        """The target itself: depth is evaluated at the image's own size."""
        return target

    def metric(self, classes: Sequence[str], protocol: str | DepthProtocol = "full") -> DepthMetrics:
        """An empty metric with the protocol's crop and range."""
        return DepthMetrics(protocol)

    def result(
        self, image: Image.Image, prediction: Tensor, classes: Sequence[str], palette: Sequence[Color]
    ) -> DepthResult:
        """The map for one PIL image."""
        return DepthResult(image=image, metres=prediction)


def depth_of(head: nn.Module, features: Features, image_size: tuple[int, int] | None) -> Tensor:
    """Metres (B, 1, H, W) of the images before they were padded; a registered head gives a map of any size."""
    if isinstance(head, DepthHead):
        return head(features, image_size=image_size)
    metres = head(tuple(features))
    if metres.ndim != 4 or metres.shape[1] != 1:
        raise ValueError(f"{type(head).__name__} gives {tuple(metres.shape)}: expected metres (B, 1, h, w)")
    padded_size = covered_size(head, features)
    return cut_padding(metres, padded_size, image_size or padded_size)
