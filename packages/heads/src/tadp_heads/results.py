"""What `PerceptionModel.predict` returns: small frozen classes that know their units and can draw themselves."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tadp_heads.data.palette import Color
from tadp_heads.overlay import TINT, color_depth, depth_bar, draw_boxes, draw_legend, draw_mask
from tadp_heads.result_files import save_boxes, save_confidence, save_depth, save_mask


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationResult:
    """A class id for every pixel of `image` (H x W)."""

    image: Image.Image
    """The image that was predicted, RGB."""
    ids: Tensor
    """(H, W), whole numbers, index into `names`."""
    names: tuple[str, ...]
    """All classes of the model."""
    palette: tuple[Color, ...]
    """One RGB colour per class."""
    confidence: Tensor | None = None
    """(H, W) floats in (0, 1], the probability of each pixel's class; None where it was not asked for."""

    @property
    def areas(self) -> dict[str, float]:
        """Share of the image's pixels in (0, 1] of each class that was found."""
        counts = self.ids.flatten().bincount(minlength=len(self.names))
        return {name: int(n) / self.ids.numel() for name, n in zip(self.names, counts, strict=True) if n}

    @property
    def found_colors(self) -> dict[str, Color]:
        """{class that was found: its colour}, in the model's order."""
        areas = self.areas
        return {name: color for name, color in zip(self.names, self.palette, strict=True) if name in areas}

    def on(self, image: Image.Image) -> "SegmentationResult":
        """The same for this image in another size."""
        size = (image.height, image.width)
        confidence = None if self.confidence is None else _nearest(self.confidence, size)
        return replace(self, image=image, ids=_nearest(self.ids, size), confidence=confidence)

    def overlay(self, opacity: float = TINT) -> Image.Image:
        """The image under the contours and, of `opacity` in [0, 1], the colours of the classes found."""
        return draw_mask(self.image, self.ids, self.palette, opacity)

    def legend(self, width: int = 512) -> Image.Image:
        """The colours and names of the classes found."""
        found = self.found_colors
        return draw_legend(list(found), list(found.values()), width)

    def write(self, folder: Path, stem: str, file_name: str) -> None:
        """STEM_mask.png, class ids with the palette; STEM_confidence.png, 255 for a probability of 1."""
        save_mask(self.ids, self.palette, folder / f"{stem}_mask.png")
        if self.confidence is not None:
            save_confidence(self.confidence, folder / f"{stem}_confidence.png")


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthResult:
    """A distance in metres for every pixel of `image` (H x W)."""

    image: Image.Image
    """The image that was predicted, RGB."""
    metres: Tensor
    """(H, W) float32, metres."""

    def on(self, image: Image.Image) -> "DepthResult":
        """The same for this image in another size."""
        size = (image.height, image.width)
        metres = F.interpolate(self.metres[None, None], size=size, mode="bilinear", align_corners=False)
        return replace(self, image=image, metres=metres[0, 0])

    def overlay(self) -> Image.Image:
        """The depth alone: near is yellow, far is dark blue; the range is that of this image."""
        return color_depth(self.metres)

    def legend(self, width: int = 512) -> Image.Image:
        """The colour bar of `overlay`, in metres."""
        return depth_bar(self.metres, width)

    def write(self, folder: Path, stem: str, file_name: str) -> None:
        """STEM_depth.png, 16-bit millimetres, and STEM_depth.npy, float32 metres."""
        save_depth(self.metres, folder, stem)


@dataclass(frozen=True, kw_only=True, eq=False)
class DetectionResult:
    """The objects found in `image`, the surest first; N of them."""

    image: Image.Image
    """The image that was predicted, RGB."""
    boxes: Tensor
    """(N, 4) float32 XYXY in pixels of `image`."""
    scores: Tensor
    """(N,) in [0, 1], descending."""
    labels: Tensor
    """(N,) int64, index into `names`."""
    names: tuple[str, ...]
    """All classes of the model."""
    palette: tuple[Color, ...]
    """One RGB colour per class."""

    def on(self, image: Image.Image) -> "DetectionResult":
        """The same for this image in another size."""
        horizontal, vertical = image.width / self.image.width, image.height / self.image.height
        factors = self.boxes.new_tensor([horizontal, vertical, horizontal, vertical])
        return replace(self, image=image, boxes=self.boxes * factors)

    def overlay(self, min_score: float = 0.5) -> Image.Image:
        """The image with the boxes whose score is at least `min_score`; a small one is enlarged by a whole factor."""
        keep = self.scores >= min_score
        captions = [
            f"{self.names[int(label)]} {float(score):.2f}"
            for label, score in zip(self.labels[keep], self.scores[keep], strict=True)
        ]
        return draw_boxes(self.image, self.boxes[keep], self.labels[keep], captions, self.palette)

    def legend(self, width: int = 512, min_score: float = 0.5) -> Image.Image:
        """The colours and names of the classes whose boxes `overlay` draws."""
        found = sorted(set(self.labels[self.scores >= min_score].tolist()))
        return draw_legend([self.names[i] for i in found], [self.palette[i] for i in found], width)

    def write(self, folder: Path, stem: str, file_name: str) -> None:
        """STEM_boxes.json, a COCO data set of this image whose annotations have a score."""
        image = {"file_name": file_name, "width": self.image.width, "height": self.image.height}
        save_boxes(self.boxes, self.scores, self.labels, self.names, image, folder / f"{stem}_boxes.json")


def _nearest(values: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) -> `size`: of each new pixel's centre, the pixel that it lies in."""
    rows, columns = (
        ((torch.arange(new, dtype=torch.float64) + 0.5) * (old / new)).long().clamp(max=old - 1).to(values.device)
        for new, old in zip(size, values.shape, strict=True)
    )
    return values[rows[:, None], columns]


class Result(Protocol):
    """What a task makes of a prediction for one image."""

    @property
    def image(self) -> Image.Image:
        """The image that was predicted, RGB."""

    def on(self, image: Image.Image) -> "Result":
        """The same for this image in another size."""

    def overlay(self) -> Image.Image:
        """The prediction drawn on the image."""

    def write(self, folder: Path, stem: str, file_name: str) -> None:
        """The raw result as files STEM_... of the folder; `file_name`: of the image."""
