"""Depth as the code that trains and scores sees it."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tadp_heads.data.sample import Color, Target
from tadp_heads.depth.head import DepthHead
from tadp_heads.depth.loss import silog_loss
from tadp_heads.depth.metrics import DepthMetrics
from tadp_heads.depth.protocol import PROTOCOLS, DepthProtocol, get_protocol
from tadp_heads.depth.transforms import TRAIN_TRANSFORMS
from tadp_heads.padding import pad_to_multiple
from tadp_heads.results import DepthResult
from tadp_heads.tasks import Extract, Features


class DepthTask:
    """Implements `tadp_heads.tasks.Task`; classes play no part."""

    name = "depth"
    head_class = DepthHead
    protocols = PROTOCOLS
    train_transforms = TRAIN_TRANSFORMS

    def build_head(self, levels: Sequence[Any], classes: Sequence[str], **options: Any) -> DepthHead:
        """A DepthHead with fresh weights; `options` are its further arguments, e.g. max_depth_m."""
        return DepthHead(levels, **options)

    def loss(
        self,
        head: DepthHead,
        features: Features,
        targets: Sequence[Target],
        image_size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Scale-invariant loss over the pixels of the batch that have a value; targets (H, W) metres of one size."""
        target = torch.stack([target.as_subclass(Tensor) for target in targets])[:, None]  # (B, 1, H, W)
        return silog_loss(head(features, image_size=image_size), target)

    @torch.no_grad()
    def predict(
        self, head: DepthHead, extract: Extract, images: Tensor, protocol: str | DepthProtocol = "full"
    ) -> list[Tensor]:
        """Images (B, 3, H, W) of any size -> B maps (H, W) float32 in metres, on the CPU."""
        multiple = head.config.levels[-1].stride

        def predict(part: Tensor) -> Tensor:
            return head(extract(pad_to_multiple(part, multiple)), image_size=tuple(part.shape[-2:])).float()

        return list(get_protocol(protocol).predict(predict, images)[:, 0].cpu())

    def translate(self, prediction: Tensor, classes: Sequence[str], wanted: Sequence[str]) -> Tensor:
        """The map as it is."""
        return prediction

    def scoring_target(self, target: Target, protocol: str | DepthProtocol) -> Target:
        """The target itself: depth is scored at the image's own size."""
        return target

    def metric(self, classes: Sequence[str], protocol: str | DepthProtocol = "full") -> DepthMetrics:
        """An empty metric with the protocol's crop and range."""
        return DepthMetrics(protocol)

    def result(
        self, image: Image.Image, prediction: Tensor, classes: Sequence[str], palette: Sequence[Color]
    ) -> DepthResult:
        """The map for one PIL image."""
        return DepthResult(image=image, metres=prediction)
