"""What `PerceptionModel.predict` returns: small frozen classes that know their units and can draw themselves."""

from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from tadp_heads.data.sample import Color
from tadp_heads.overlay import draw_boxes, draw_depth, draw_mask


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationResult:
    """A class id for every pixel of `image`."""

    image: Image.Image
    """The picture that was predicted, RGB."""
    ids: Tensor
    """(H, W) int64, index into `names`."""
    names: tuple[str, ...]
    """All classes of the model."""
    palette: tuple[Color, ...]
    """One RGB colour a class."""

    @property
    def areas(self) -> dict[str, float]:
        """Share of the image's pixels in (0, 1] of each class that was found."""
        counts = self.ids.flatten().bincount(minlength=len(self.names))
        return {name: int(n) / self.ids.numel() for name, n in zip(self.names, counts, strict=True) if n}

    def overlay(self) -> Image.Image:
        """The image under the colours of the classes found."""
        return draw_mask(self.image, self.ids, self.palette)


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthResult:
    """A distance for every pixel of `image`."""

    image: Image.Image
    """The picture that was predicted, RGB."""
    metres: Tensor
    """(H, W) float32, metres."""

    def overlay(self) -> Image.Image:
        """Near is yellow, far is dark blue; the range is that of this image."""
        return draw_depth(self.image, self.metres)


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionResult:
    """The objects found in `image`, the surest first; N of them."""

    image: Image.Image
    """The picture that was predicted, RGB."""
    boxes: Tensor
    """(N, 4) float32 XYXY in pixels of `image`."""
    scores: Tensor
    """(N,) in [0, 1], descending."""
    labels: Tensor
    """(N,) int64, index into `names`."""
    names: tuple[str, ...]
    """All classes of the model."""
    palette: tuple[Color, ...]
    """One RGB colour a class."""

    def overlay(self, min_score: float = 0.5) -> Image.Image:
        """The image with the boxes whose score is at least `min_score`."""
        keep = self.scores >= min_score
        captions = [
            f"{self.names[int(label)]} {float(score):.2f}"
            for label, score in zip(self.labels[keep], self.scores[keep], strict=True)
        ]
        return draw_boxes(self.image, self.boxes[keep], self.labels[keep], captions, self.palette)


Result = SegmentationResult | DepthResult | DetectionResult
